"""Plots as SVG. Imported where a plot is drawn: matplotlib takes half a second to load."""

import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, MaxNLocator

matplotlib.use("Agg")

WIDTH_INCHES = 10.5


def new_figure(height_inches: float, title: str) -> Figure:
    """Return an empty figure of the width of a report."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), facecolor="white", layout="constrained")
    figure.suptitle(title)
    return figure


def whole_numbers() -> Locator:
    """Return a few ticks at whole numbers, however many rounds there are."""
    return MaxNLocator(integer=True, min_n_ticks=1)  # two at least would be fractions for a single round


def as_svg(draw: Callable[[], Figure]) -> bytes:
    """Return the figure that ``draw`` makes as SVG; the same figure gives the same bytes.

    Ids are fixed and the date is left out. Names are plain text, even if they hold dollar signs.
    """
    # A label keeps the setting under which it was made, so that drawing has to happen in here.
    with matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "cyclealign"}):
        file = io.BytesIO()
        draw().savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
