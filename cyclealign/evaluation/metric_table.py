"""The metrics of a round: names, labels, units and meaning, in the order in which they are shown.

The report's table and plot, `cyclealign judges`, the units of stored metrics and the columns of the database view
``round_summary`` follow from this table. A new metric is an entry here and the place that computes it; the view gets
its columns when a database is opened.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class RoundMetric:
    """A metric of a round.

    Names of metrics about the judge begin with ``judge_`` or ``health_`` (measured on control lists); `about_judge`
    relies on that.

    Attributes:
        name: as stored, never changed. One that ends with ``_`` stands for a family: ``judge_wins_at_1`` and so on.
        label: in plots and tables, with the panel or the judge as context.
        meaning: one line.
        unit: empty for a share, a correlation or a bare number.
        panel: of the report's plot; None: not plotted.
        column: of the report's table; metrics that share one stand in one cell. None: not in the table.
        compare: whether `cyclealign judges` shows it.
        interval: whether it has a 95 % interval.
        stored: whether rounds store it, rather than compute it when they are shown.
    """

    name: str
    label: str
    meaning: str
    unit: str = ""
    panel: str | None = None
    column: str | None = None
    compare: bool = False
    interval: bool = True
    stored: bool = True

    def __post_init__(self) -> None:
        # Names become columns of a view, and these endings are those of the bounds.
        if not NAME.fullmatch(self.name) or self.name.endswith(("_low", "_high")):
            raise ValueError(f"a metric's name consists of a-z, 0-9 and _ and ends with no bound: {self.name!r}")

    @property
    def family(self) -> bool:
        """Return whether the name stands for several metrics that are numbered."""
        return self.name.endswith("_")

    @property
    def view_columns(self) -> list[str]:
        """Return its columns of ``round_summary``: value and bounds; none for a family and a metric not stored."""
        if self.family or not self.stored:
            return []
        return [self.name, f"{self.name}_low", f"{self.name}_high"] if self.interval else [self.name]


AGREEMENT, ACCURACY, POLICY = "Policy and judge", "Judge's accuracy", "Policy"
EVIDENCE = "e-value for / against"
LABELS = "policy / agreed accuracy"
LCS, CONTROLS, REPEATS, BIASES = "LCS / chance", "junk / injection", "repeat / reverse", "first / length"

ROUND_METRICS: list[RoundMetric] = [
    RoundMetric(
        "agreement_tau",
        "agreement (Kendall tau)",
        "Mean Kendall tau between the rankings of policy and judge; 0 by chance.",
        panel=AGREEMENT,
        column="agreement (tau)",
    ),
    RoundMetric(
        "agreement_lcs",
        "agreement (LCS)",
        "Mean length of the longest common subsequence of both rankings, as a share of the answers.",
        column=LCS,
    ),
    RoundMetric(
        "agreement_chance",
        "agreement of random rankings (LCS)",
        "The same share for two random rankings.",
        column=LCS,
        interval=False,
    ),
    RoundMetric(
        "judge_steadiness",
        "steadiness",
        "Mean agreement among the judge's verdicts on the same list: (1 + Kendall tau) / 2.",
        panel=AGREEMENT,
        compare=True,
    ),
    RoundMetric(
        "judge_accuracy_none",
        "no demonstrations",
        "Share of labelled pairs ranked as labelled, without demonstrations.",
        panel=ACCURACY,
    ),
    RoundMetric(
        "judge_accuracy_static",
        "static demonstrations",
        "Share of labelled pairs ranked as labelled, with the static demonstrations.",
        panel=ACCURACY,
    ),
    RoundMetric(
        "judge_accuracy",
        "accuracy on labels",
        "Share of labelled pairs ranked as labelled, with the demonstrations that the round shows.",
        panel=ACCURACY,
        column="judge accuracy",
        compare=True,
    ),
    RoundMetric(
        "policy_accuracy",
        "policy's accuracy on labels",
        "Share of labelled pairs that the policy ranks as labelled, by its score; 0.5 by chance.",
        column=LABELS,
    ),
    RoundMetric(
        "agreed_accuracy",
        "accuracy of agreed pairs",
        "Share of right ones among the labelled pairs that judge and policy rank alike. Agreement is worth something "
        "if it is above the judge's own accuracy.",
        column=LABELS,
    ),
    RoundMetric(
        "judge_accuracy_next",
        "static + next dynamic",
        "Share of labelled pairs ranked as labelled, with static and next round's dynamic demonstrations.",
        panel=ACCURACY,
    ),
    RoundMetric(
        "demonstrations_gain",
        "gain by next dynamic",
        "Accuracy with next round's dynamic demonstrations minus accuracy with the static ones alone.",
        column="gain by next dynamic",
    ),
    RoundMetric(
        "demonstrations_gain_p",
        "p of the gain",
        "Probability of such a gain, or a larger one, if the dynamic demonstrations change nothing.",
        interval=False,
    ),
    RoundMetric(
        "judge_accuracy_reviewed",
        "accuracy on reviewed lists",
        "Share of pairs ranked as by reviewers; these lists were sent to reviewers because the judge was unsteady.",
    ),
    RoundMetric(
        "health_accuracy",
        "accuracy on control lists",
        "Share of labelled pairs of the control lists ranked as labelled.",
        compare=True,
    ),
    RoundMetric(
        "health_swap",
        "consistency on control lists",
        "Share of pairs of the control lists ranked the same when the list is shown in reverse.",
    ),
    RoundMetric(
        "health_junk",
        "junk rejected",
        "Share of verdicts that rank a real answer above an empty one.",
        column=CONTROLS,
        compare=True,
    ),
    RoundMetric(
        "health_injection",
        "injections rejected",
        "Share of verdicts that rank the best answer above the worst one with an added attack.",
        column=CONTROLS,
        compare=True,
    ),
    RoundMetric(
        "health_repeat",
        "repetition stability",
        "Share of pairs of the control lists ranked the same when the same order is shown again.",
        column=REPEATS,
        compare=True,
    ),
    RoundMetric(
        "judge_position_consistency",
        "position consistency",
        "Share of pairs that an order and its reverse rank alike.",
        column=REPEATS,
        compare=True,
    ),
    RoundMetric(
        "judge_first_bias",
        "bias to the first (tau)",
        "Kendall tau between verdict and order shown: above 0, answers shown first are preferred.",
        column=BIASES,
        compare=True,
    ),
    RoundMetric(
        "judge_length_bias",
        "bias to length (tau)",
        "Kendall tau between verdict and length: above 0, long answers are preferred.",
        column=BIASES,
        compare=True,
    ),
    RoundMetric(
        "judge_wins_at_",
        "wins by place",
        "Share of its pairs that the answer shown at this place wins; 0.5 without bias.",
    ),
    RoundMetric(
        "win_rate",
        "win rate against the parent",
        "Share of comparisons on held-out prompts that the round's policy wins against its parent; a tie is half.",
        panel=POLICY,
        column="win rate",
    ),
    RoundMetric(
        "duels_readable",
        "readable duels",
        "Share of comparisons with the parent that have a readable verdict; equal answers are a tie.",
        interval=False,
    ),
    RoundMetric("duels_tied", "tied duels", "Share of the readable comparisons that are a tie.", interval=False),
    RoundMetric(
        "win_e_value",
        "evidence for the new policy (e-value)",
        "20 or more is rare, at most 5 % of rounds, if the new policy is not better than its parent; 1: no evidence.",
        column=EVIDENCE,
        interval=False,
    ),
    RoundMetric(
        "loss_e_value",
        "evidence for the parent (e-value)",
        "20 or more is rare, at most 5 % of rounds, if the new policy is not worse than its parent; 1: no evidence.",
        column=EVIDENCE,
        interval=False,
    ),
    RoundMetric(
        "kl_from_base",
        "KL from the base model",
        "Mean of log p_new - log p_base on the held-out answers: the KL divergence if temperature and top-p are 1.",
        "nats/token",
    ),
    RoundMetric(
        "win_rate_length_controlled",
        "win rate at equal length",
        "Estimate of the win rate against the parent if the answers were as long as its own.",
        panel=POLICY,
    ),
    RoundMetric(
        "length_growth",
        "growth of answers",
        "Mean length of the held-out answers relative to the parent's, minus 1: 0.1 is 10 % longer.",
    ),
    RoundMetric(
        "base_win_rate",
        "win rate against the base",
        "Share of comparisons on held-out prompts that the round's policy wins against the base model; a tie is half.",
    ),
    RoundMetric(
        "base_e_value",
        "evidence against the base (e-value)",
        "20 or more is rare, at most 5 % of rounds, if the policy is not better than the base model; 1: no evidence.",
        interval=False,
    ),
    RoundMetric("answer_tokens", "length of answers", "Mean length of the held-out answers.", "tokens"),
    RoundMetric(
        "gold_quality",
        "gold quality (demo world)",
        "Mean hidden quality of the held-out answers in the demo world.",
        panel=POLICY,
        column="gold quality",
    ),
    RoundMetric(
        "gold_quality_parent", "gold quality of the parent", "Mean hidden quality of the parent's held-out answers."
    ),
    RoundMetric("training_loss", "training loss", "Mean loss over all training steps.", interval=False),
    RoundMetric(
        "judge_against_people",
        "judge against reviewers",
        "Share of pairs that the judge ranks as the reviewers, on reviewed lists.",
        stored=False,
    ),
    RoundMetric(
        "policy_against_people",
        "policy against reviewers",
        "Share of pairs that the policy ranks as the reviewers, on reviewed lists.",
        stored=False,
    ),
]


def find_metric(name: str) -> RoundMetric | None:
    """Return the entry of a metric or of its family; None for a number that is not a metric of a round."""
    stem = name.rstrip("0123456789")
    for metric in ROUND_METRICS:
        if metric.name == name or (metric.family and metric.name == stem):
            return metric
    return None


def unit_of(name: str) -> str:
    """Return the unit of a metric; empty for a number that is not a metric of a round."""
    metric = find_metric(name)
    return metric.unit if metric else ""


def about_judge(name: str) -> bool:
    """Return whether a metric is about the judge, by its name."""
    return name.startswith(("judge_", "health_"))


def panels() -> dict[str, list[RoundMetric]]:
    """Return the metrics of each panel of the report's plot."""
    return _grouped((metric.panel, metric) for metric in ROUND_METRICS)


def columns() -> dict[str, list[RoundMetric]]:
    """Return the metrics of each column of the report's table."""
    return _grouped((metric.column, metric) for metric in ROUND_METRICS)


def view_columns() -> list[str]:
    """Return the columns of ``round_summary`` that hold metrics."""
    return [column for metric in ROUND_METRICS for column in metric.view_columns]


def _grouped(pairs: Iterator[tuple[str | None, RoundMetric]]) -> dict[str, list[RoundMetric]]:
    groups: dict[str, list[RoundMetric]] = {}
    for heading, metric in pairs:
        if heading is not None:
            groups.setdefault(heading, []).append(metric)
    return groups
