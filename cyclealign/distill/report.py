"""A job's measures as a table, and as a plot with its curves."""

import io
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cyclealign.records.distillation import Curve, Measure

matplotlib.use("Agg")

PANELS_ABREAST = 3
ABSENT = "n/a"  # the UI shows a dash alone as a bullet


def measure_table(measures: Sequence[Measure]) -> list[dict[str, str]]:
    """One row an arm, one column a name, as people compare them."""
    names = list(dict.fromkeys(each.name for each in measures))
    cells: dict[str, dict[str, str]] = {}
    for each in measures:
        cells.setdefault(each.arm, dict.fromkeys(names, ABSENT))[each.name] = cell(each)
    return [{"arm": arm, **row} for arm, row in cells.items()]


def cell(measure: Measure) -> str:
    """A value with its 95 % interval where it has one."""
    if measure.low is None or measure.high is None:
        return number(measure.value)
    return f"{number(measure.value)} [{number(measure.low)}, {number(measure.high)}]"


def number(value: float) -> str:
    """Three decimals for what lies near one, fewer digits for what is larger."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return ""
    return "\n".join([_line(rows[0]), "|---" * len(rows[0]) + "|", *(_line(row.values()) for row in rows)])


def _line(cells: Iterable[str]) -> str:
    """A row of a Markdown table; a bar inside a cell would split it, and the end of a line the table."""
    return "| " + " | ".join(" ".join(each.split()).replace("|", "\\|") for each in cells) + " |"


def plot_measures(measures: Sequence[Measure], curves: Sequence[Curve], title: str) -> bytes:
    """An SVG: a panel for each name of a measure (arms side by side, with intervals) and of a curve."""
    # Names are texts, whatever dollar signs they hold. Fixed ids and no date: the same measures give the same bytes.
    with matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "cyclealign"}):
        picture = io.BytesIO()
        _figure(measures, curves, title).savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def _figure(measures: Sequence[Measure], curves: Sequence[Curve], title: str) -> Figure:
    names = list(dict.fromkeys(each.name for each in measures))
    drawn = list(dict.fromkeys(each.name for each in curves))
    count = max(1, len(names) + len(drawn))
    rows = -(-count // PANELS_ABREAST)
    figure = Figure(figsize=(10.5, 3.2 * rows), facecolor="white", layout="constrained")
    figure.suptitle(title)
    panels = list(figure.subplots(rows, min(count, PANELS_ABREAST), squeeze=False).flat)
    for axes, name in zip(panels, names, strict=False):
        _arms(axes, name, [each for each in measures if each.name == name])
    for axes, name in zip(panels[len(names) :], drawn, strict=False):
        _lines(axes, name, [each for each in curves if each.name == name])
    for axes in panels[len(names) + len(drawn) :]:
        axes.set_visible(False)
    return figure


def _arms(axes: Axes, name: str, measures: Sequence[Measure]) -> None:
    places = range(len(measures))[::-1]
    for place, each in zip(places, measures, strict=True):
        (point,) = axes.plot([each.value], [place], marker="o")
        if each.low is not None and each.high is not None:
            axes.plot([each.low, each.high], [place, place], color=point.get_color())
    axes.set_yticks(list(places), [each.arm for each in measures], fontsize=8)
    axes.set_ylim(-0.6, len(measures) - 0.4)
    axes.set_title(name, fontsize=10)
    axes.grid(alpha=0.25, axis="x")


def _lines(axes: Axes, name: str, curves: Sequence[Curve]) -> None:
    for each in curves:
        axes.plot(each.x, each.y, marker="o", markersize=3, label=each.arm)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel(curves[0].x_name)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7)
