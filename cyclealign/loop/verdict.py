"""The verdict on a round: whether its evidence against the parent suffices, and the reason in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from cyclealign.config.evaluation import AcceptanceSettings
from cyclealign.evaluation import error_spending
from cyclealign.evaluation.length import GROWTH
from cyclealign.evaluation.report import interval
from cyclealign.evaluation.sequential_test import DESIGN_ALPHA
from cyclealign.records import Metric, Round
from cyclealign.store import Store, Verdict

Metrics = Mapping[str, Metric]


@dataclass(frozen=True)
class Decision:
    """A verdict with its reason for the history, and whether the next round starts from the round's weights."""

    verdict: Verdict
    reason: str
    kept: bool


def verdict_of(settings: AcceptanceSettings, metrics: Metrics, level: float) -> Decision:
    """Decide by the duels, then by the drift from the base model.

    Args:
        level: of this round's test, from `level_of`.
    """
    decision = by_e_value(settings, metrics, level) if settings.rule == "e_value" else by_mean(settings, metrics)
    refusal = limit_passed(settings, metrics)
    return Decision("rolled_back", refusal, kept=False) if decision.kept and refusal else decision


def level_of(settings: AcceptanceSettings, store: Store, round_: Round) -> float:
    """Return the level of the round's test, such that acceptance.alpha holds over acceptance.alpha_rounds rounds.

    Only rounds that were accepted with an e-value of at least 1 / alpha count as earlier rejections: those that were
    accepted by the mean were not.
    """
    if settings.rule == "mean":
        return DESIGN_ALPHA
    tests = store.rounds.earlier_tests(round_)
    rejected = [verdict == "accepted" and value >= 1 / settings.alpha for verdict, value in tests]
    return error_spending.level(settings.alpha, settings.alpha_rounds, rejected)


def limit_passed(settings: AcceptanceSettings, metrics: Metrics) -> str:
    """Return why the policy may not go on although it may be better; an empty text if it may."""
    kl = metrics["kl_from_base"].value
    if settings.max_kl is not None and kl > settings.max_kl:
        return f"KL from the base {kl:.2f} is above {settings.max_kl:.2f} nats per token"
    growth = metrics[GROWTH].value if GROWTH in metrics else 0.0
    if settings.max_length_growth is not None and growth > settings.max_length_growth:
        return f"answers are {growth:.0%} longer than the parent's, above {settings.max_length_growth:.0%}"
    return ""


def by_mean(settings: AcceptanceSettings, metrics: Metrics) -> Decision:
    """Compare the mean win rate, however uncertain it is, with acceptance.min_win_rate."""
    enough = metrics["win_rate"].value >= settings.min_win_rate
    place = "at least" if enough else "below"
    reason = f"{measured(metrics)}, e-value {e_value(metrics, 'win_e_value')}: {place} {settings.min_win_rate:.2f}"
    return Decision("accepted" if enough else "rolled_back", reason, kept=enough)


def by_e_value(settings: AcceptanceSettings, metrics: Metrics, level: float) -> Decision:
    """Compare the evidence for the new policy, then that for its parent, with what is needed."""
    needed = 1 / level
    threshold = needed_in_words(settings, needed)
    if metrics["win_e_value"].value >= needed:
        reason = f"{measured(metrics)}: e-value {e_value(metrics, 'win_e_value')} reaches {threshold}"
        return Decision("accepted", reason, kept=True)
    if metrics["loss_e_value"].value >= 1 / settings.alpha:
        against = e_value(metrics, "loss_e_value")
        reason = f"{measured(metrics)}: the parent is better, e-value {against} reaches 1 / alpha"
        return Decision("rolled_back", reason, kept=False)
    kept = settings.undecided == "train_on"
    follows = "the next round trains on, without its demonstrations" if kept else "counts as rolled back"
    reason = (
        f"{measured(metrics)}: undecided, e-value {e_value(metrics, 'win_e_value')} is below {threshold}; {follows} "
        "(acceptance.undecided)"
    )
    return Decision("undecided", reason, kept)


def needed_in_words(settings: AcceptanceSettings, needed: float) -> str:
    """Return the needed e-value with its origin, such as ``1 / alpha = 20``."""
    if settings.alpha_rounds == 1:
        return f"1 / alpha = {needed:.3g}"
    return f"{needed:.3g} (alpha {settings.alpha:g} over {settings.alpha_rounds} rounds)"


def measured(metrics: Metrics) -> str:
    """Return the win rate with its interval, prompts and ties, such as ``win rate 0.58 [0.51, 0.66] on 24 prompts``."""
    rate, ties = metrics["win_rate"], metrics["duels_tied"].value
    return f"win rate {interval(rate)} on {rate.count} prompts, {100 * ties:.0f} % ties"


def e_value(metrics: Metrics, name: str) -> str:
    """Format an e-value."""
    return f"{metrics[name].value:.3g}"
