"""The report of rounds: a table's rows, and a plot as SVG."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cyclealign.evaluation import metric_table
from cyclealign.evaluation.metric_table import RoundMetric
from cyclealign.evaluation.report import ABSENT, interval, two_decimals, usd_cell
from cyclealign.records import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Summary = Mapping[str, Any]  # a row of `store.experiments.rounds`


def round_table(rounds: Sequence[Summary]) -> list[dict[str, str]]:
    """Return one row of readable cells per round, in the order in which rounds are compared."""
    return [
        {
            "round": str(summary["number"]),
            "verdict": str(summary["verdict"] or "open").replace("_", " "),
            **{
                heading: metric_cell(summary["metrics"], metrics) for heading, metrics in metric_table.columns().items()
            },
            "judge calls": f"{summary['judge_calls'] or 0:,}",
            "tokens": f"{summary['judge_tokens'] or 0:,}",
            "USD": usd_cell(summary["cost_usd"] or 0.0, summary.get("estimated_usd") or 0.0),
            "seconds": f"{summary['seconds'] or 0:.1f}",
        }
        for summary in rounds
    ]


def metric_cell(measured: Mapping[str, Metric], metrics: Sequence[RoundMetric]) -> str:
    """Format one metric with its interval, or several values in one cell; n/a stands for a missing one.

    Not a dash, which the Prefect UI shows as a bullet.
    """
    if len(metrics) == 1:
        return interval(measured.get(metrics[0].name))
    if not any(metric.name in measured for metric in metrics):
        return ABSENT
    return " / ".join(
        two_decimals(measured[metric.name].value) if metric.name in measured else ABSENT for metric in metrics
    )


def plot_rounds(rounds: Sequence[Summary], title: str) -> bytes:
    """Return an SVG of the rounds' metrics with their 95 % intervals, a panel per group of metrics.

    Args:
        rounds: one mapping per round: ``number``, ``verdict``, and ``metrics`` (name -> Metric).
    """
    from cyclealign.evaluation import plots

    return plots.as_svg(lambda: _figure(rounds, title))


def _figure(rounds: Sequence[Summary], title: str) -> "Figure":
    from cyclealign.evaluation import plots

    panels = measured_panels(rounds)
    figure = plots.new_figure(3.4 if panels else 0.6, title if panels else f"{title}: nothing was measured yet")
    if not panels:
        return figure
    for axes, (heading, metrics) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _draw_panel(axes, heading, metrics, rounds)
    return figure


def measured_panels(rounds: Sequence[Summary]) -> dict[str, list[RoundMetric]]:
    """Return the panels of the plot that some round has a metric of, each with those metrics."""
    measured = {name for summary in rounds for name in summary["metrics"]}
    panels = {
        heading: [metric for metric in metrics if metric.name in measured]
        for heading, metrics in metric_table.panels().items()
    }
    return {heading: metrics for heading, metrics in panels.items() if metrics}


def _draw_panel(axes: "Axes", heading: str, metrics: Sequence[RoundMetric], rounds: Sequence[Summary]) -> None:
    from cyclealign.evaluation import plots

    for metric in metrics:
        _draw_metric(axes, metric, rounds)
    for summary in rounds:
        if summary["verdict"] is not None and not summary.get("kept"):
            axes.axvline(summary["number"], color="grey", linestyle=":", linewidth=1)
    axes.set_title(heading, fontsize=10)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(plots.whole_numbers())
    axes.set_xlim(rounds[0]["number"] - 0.5, rounds[-1]["number"] + 0.5)
    axes.set_ylim(-0.2 if heading == metric_table.AGREEMENT else 0, 1.02)  # tau may be negative
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc="lower right")


def _draw_metric(axes: "Axes", metric: RoundMetric, rounds: Sequence[Summary]) -> None:
    """Draw a line with its band of intervals; nothing if no round has the metric."""
    measured = [summary for summary in rounds if metric.name in summary["metrics"]]
    if not measured:
        return
    numbers = [summary["number"] for summary in measured]
    points: list[Metric] = [summary["metrics"][metric.name] for summary in measured]
    (line,) = axes.plot(numbers, [point.value for point in points], marker="o", label=metric.label)
    bounds = [(point.low, point.high) for point in points if point.low is not None and point.high is not None]
    if len(bounds) == len(points):
        low, high = zip(*bounds, strict=True)
        axes.fill_between(numbers, low, high, alpha=0.15, color=line.get_color())
