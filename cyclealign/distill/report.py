"""The report of a job: its measures as a table, and as a plot with its curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclealign.evaluation.report import ABSENT, interval, three_digits
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_PER_ROW = 3


def measure_table(measures: Sequence[Metric]) -> list[dict[str, str]]:
    """Return one row per arm and one column per name, in the order of the measures."""
    names = list(dict.fromkeys(measure.name for measure in measures))
    cells: dict[str, dict[str, str]] = {}
    for measure in measures:
        cells.setdefault(measure.arm, dict.fromkeys(names, ABSENT))[measure.name] = cell(measure)
    return [{"arm": arm, **row} for arm, row in cells.items()]


def cell(measure: Metric) -> str:
    """Format a measure with its 95 % interval if it has one."""
    return interval(measure, three_digits)


def plot_measures(measures: Sequence[Metric], curves: Sequence[Curve], title: str) -> bytes:
    """Return an SVG with a panel per name of a measure (arms side by side, with intervals) and of a curve."""
    from cyclealign.evaluation import plots

    return plots.as_svg(lambda: _figure(measures, curves, title))


def _figure(measures: Sequence[Metric], curves: Sequence[Curve], title: str) -> "Figure":
    from cyclealign.evaluation import plots

    names = list(dict.fromkeys(measure.name for measure in measures))
    curve_names = list(dict.fromkeys(curve.name for curve in curves))
    count = max(1, len(names) + len(curve_names))
    rows = -(-count // PANELS_PER_ROW)
    figure = plots.new_figure(3.2 * rows, title)
    panels = list(figure.subplots(rows, min(count, PANELS_PER_ROW), squeeze=False).flat)
    for axes, name in zip(panels, names, strict=False):
        _draw_arms(axes, name, [measure for measure in measures if measure.name == name])
    for axes, name in zip(panels[len(names) :], curve_names, strict=False):
        _draw_curves(axes, name, [curve for curve in curves if curve.name == name])
    for axes in panels[len(names) + len(curve_names) :]:
        axes.set_visible(False)
    return figure


def _draw_arms(axes: "Axes", name: str, measures: Sequence[Metric]) -> None:
    heights = range(len(measures))[::-1]
    for height, measure in zip(heights, measures, strict=True):
        (point,) = axes.plot([measure.value], [height], marker="o")
        if measure.low is not None and measure.high is not None:
            axes.plot([measure.low, measure.high], [height, height], color=point.get_color())
    axes.set_yticks(list(heights), [measure.arm for measure in measures], fontsize=8)
    axes.set_ylim(-0.6, len(measures) - 0.4)
    axes.set_title(name, fontsize=10)
    axes.grid(alpha=0.25, axis="x")


def _draw_curves(axes: "Axes", name: str, curves: Sequence[Curve]) -> None:
    for curve in curves:
        axes.plot(curve.x, curve.y, marker="o", markersize=3, label=curve.arm)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel(curves[0].x_name)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7)
