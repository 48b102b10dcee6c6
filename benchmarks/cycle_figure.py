"""The figure of `benchmarks.cycle`: gain of the policy and accuracy of its labels, arm by arm.

``python -m benchmarks.cycle_figure RESULT.json [RESULT.json ...] FIGURE.svg`` draws what ``benchmarks.cycle --json``
printed; of an arm in several results the last one counts.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cyclealign.evaluation.plots import as_svg, new_figure

COLUMNS = (
    ("gain", "gold quality gained over the base policy"),
    ("gain_over_first_arm", "the same, minus the arm 'static', paired"),
    ("label_accuracy_over_first_arm", "accuracy of the labels, minus 'static', paired"),
)
INCHES_PER_ARM, INCHES_OF_AXES = 0.26, 1.2
Rows = Mapping[str, Mapping[str, Any]]


def draw(rows: Rows) -> Figure:
    """Return a figure with a row per arm and a column per measure: means with 95 % intervals over seeds."""
    seeds = sorted({values["seeds"] for values in rows.values()})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    title = f"The cycle in the demo world (simulated policy, judge and gold quality; {count} seeds)"
    figure = new_figure(INCHES_OF_AXES + INCHES_PER_ARM * len(rows), title)
    axes = figure.subplots(1, len(COLUMNS), sharey=True)
    for axis, (measure, label) in zip(axes, COLUMNS, strict=True):
        draw_column(axis, [values[measure] for values in rows.values()])
        axis.set_xlabel(label, fontsize=8)
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].invert_yaxis()
    return figure


def draw_column(axis: Axes, intervals: Sequence[Sequence[float | None]]) -> None:
    """Draw mean and interval of each arm; arms without a value have an empty row."""
    axis.axvline(0, color="0.6", linewidth=1)
    for row, (mean, low, high) in enumerate(intervals):
        if mean is None:
            continue
        apart = low is not None and high is not None and (low > 0 or high < 0)
        color = "C0" if apart else "0.45"
        if low is not None and high is not None:
            axis.plot([low, high], [row, row], color=color, linewidth=2)
        axis.plot([mean], [row], "o", color=color, markersize=5)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", color="0.92")
    axis.spines[["top", "right", "left"]].set_visible(False)


def main() -> None:
    """Draw the figure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("figure", type=Path)
    given = parser.parse_args()
    rows: dict[str, Mapping[str, Any]] = {}
    for path in given.results:
        rows.update(json.loads(path.read_text())["arms"])
    given.figure.write_bytes(as_svg(lambda: draw(rows)))


if __name__ == "__main__":
    main()
