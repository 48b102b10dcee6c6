"""Numbers and plots of rounds, as values: a table's rows and an SVG's bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("Agg")

# Panel title -> (metric, label); a metric that no round has is left out.
PANELS: Mapping[str, Sequence[tuple[str, str]]] = {
    "Policy and judge": (("agreement_tau", "agreement (Kendall tau)"), ("judge_steadiness", "judge's steadiness")),
    "Judge's accuracy": (
        ("judge_accuracy_none", "no demonstrations"),
        ("judge_accuracy_static", "static"),
        ("judge_accuracy", "as shown in the round"),
        ("judge_accuracy_next", "static + next dynamic"),
    ),
    "Policy": (("win_rate", "win rate against parent"), ("gold_quality", "gold quality (demo world)")),
}


def plot_rounds(rounds: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """An SVG of the rounds' metrics with their 95 % intervals.

    Args:
        rounds: one mapping a round: ``number``, ``verdict``, and ``metrics`` (name -> Metric).
    """
    figure = Figure(figsize=(10.5, 3.4), facecolor="white", layout="constrained")
    figure.suptitle(title)
    for axes, (heading, lines) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        _panel(axes, heading, lines, rounds)
    # Fixed ids and no date: the same rounds give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "cyclealign"}):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _panel(axes: Axes, heading: str, lines: Sequence[tuple[str, str]], rounds: Sequence[Mapping[str, Any]]) -> None:
    for name, label in lines:
        points = [(each["number"], each["metrics"][name]) for each in rounds if name in each["metrics"]]
        if not points:
            continue
        numbers = [number for number, _ in points]
        values = [metric.value for _, metric in points]
        (line,) = axes.plot(numbers, values, marker="o", label=label)
        if all(metric.low is not None for _, metric in points):
            low, high = [metric.low for _, metric in points], [metric.high for _, metric in points]
            axes.fill_between(numbers, low, high, alpha=0.15, color=line.get_color())
    for each in rounds:
        if each["verdict"] == "rolled_back":
            axes.axvline(each["number"], color="grey", linestyle=":", linewidth=1)
    axes.set_title(heading, fontsize=10)
    axes.set_xlabel("round")
    axes.set_xticks([each["number"] for each in rounds])
    axes.set_ylim(-0.2 if heading == "Policy and judge" else 0, 1.02)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc="lower right")


def round_table(rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row of readable cells a round, in the order that people compare them."""
    return [
        {
            "round": str(each["number"]),
            "verdict": str(each["verdict"] or "open").replace("_", " "),
            "agreement (tau)": interval(each["metrics"].get("agreement_tau")),
            "LCS / chance": _against_chance(each["metrics"]),
            "judge accuracy": interval(each["metrics"].get("judge_accuracy")),
            "gain by next dynamic": interval(each["metrics"].get("demonstrations_gain")),
            "junk / injection": beside(each["metrics"], "health_junk", "health_injection"),
            "repeat / reverse": beside(each["metrics"], "health_repeat", "judge_position_consistency"),
            "first / length": beside(each["metrics"], "judge_first_bias", "judge_length_bias"),
            "win rate": interval(each["metrics"].get("win_rate")),
            "gold quality": interval(each["metrics"].get("gold_quality")),
            "judge calls": f"{each['judge_calls'] or 0:,}",
            "tokens": f"{each['judge_tokens'] or 0:,}",
            "USD": f"{each['cost_usd'] or 0:.4f}",
            "seconds": f"{each['seconds'] or 0:.1f}",
        }
        for each in rounds
    ]


def interval(metric: Any) -> str:
    """A value with its 95 % interval, or that there is none."""
    if metric is None:
        return "n/a"  # a dash alone would be shown as a bullet
    return f"{metric.value:.2f}" if metric.low is None else f"{metric.value:.2f} [{metric.low:.2f}, {metric.high:.2f}]"


def beside(metrics: Mapping[str, Any], *names: str) -> str:
    """Several values in one cell; one that was not measured is a dash, and without any there is none."""
    if not any(name in metrics for name in names):
        return "n/a"
    return " / ".join(f"{metrics[name].value:.2f}" if name in metrics else "-" for name in names)


def _against_chance(metrics: Mapping[str, Any]) -> str:
    if "agreement_lcs" not in metrics:
        return "n/a"  # a dash alone would be shown as a bullet
    return f"{metrics['agreement_lcs'].value:.2f} / {metrics['agreement_chance'].value:.2f}"
