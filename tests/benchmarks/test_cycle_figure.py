"""The figure of the benchmark of the cycle."""

from benchmarks.cycle_figure import draw


def row(**intervals):
    values = {"seeds": 8, "gain": [0.1, 0.05, 0.15], "gain_over_first_arm": [None, None, None]}
    return {**values, "label_accuracy_over_first_arm": [0.0, -0.1, 0.1], **intervals}


def test_a_figure_has_a_row_per_arm_in_the_order_of_the_results():
    """Prevents intervals next to the name of another arm."""
    figure = draw({"static": row(), "dynamic": row(gain=[-0.2, -0.3, -0.1])})
    gains, over_first, _ = figure.axes
    assert [label.get_text() for label in gains.get_yticklabels()] == ["static", "dynamic"]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in gains.lines if line.get_marker() == "o"]
    assert points == [(0.1, 0), (-0.2, 1)]
    assert not [line for line in over_first.lines if line.get_marker() == "o"]  # nothing was measured


def test_only_intervals_without_zero_stand_out():
    """Prevents a figure that shows a difference where there may be none."""
    figure = draw({"static": row(gain=[0.1, -0.01, 0.2]), "dynamic": row(gain=[0.1, 0.01, 0.2])})
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [point.get_color() for point in points] == ["0.45", "C0"]
