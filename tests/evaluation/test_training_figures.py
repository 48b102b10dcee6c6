"""The figures of training steps as a table, lines, small curves and a plot."""

from dataclasses import asdict
from typing import Any

from cyclealign.evaluation.training_figures import (
    MAX_BLOCKS,
    curve,
    plot_training,
    step_lines,
    step_table,
    training_section,
)
from cyclealign.records import TrainingStep


def steps(count: int = 3, **figures: float) -> list[dict[str, Any]]:
    made = [TrainingStep(step, loss=4.0 - step, kl_loss=0.0, **figures) for step in range(1, count + 1)]
    return [{**asdict(step), "tokens_per_second": step.tokens_per_second} for step in made]


def test_a_curve_rises_with_its_values_and_has_a_bounded_width() -> None:
    """Prevents a curve of thousands of characters, and one that shows the last steps alone."""
    assert curve([0, 1, 2, 7]) == "▁▂▃█"
    assert curve([5, 5]) == "▄▄"
    assert curve([]) == ""
    long = curve([float(number) for number in range(1000)])
    assert len(long) == MAX_BLOCKS
    assert (long[0], long[-1]) == ("▁", "█")


def test_figures_that_were_not_measured_are_left_out() -> None:
    """Prevents a KL term of an objective without one, and None among the numbers."""
    rows = step_table(steps(ranking_margin=-0.25))
    assert rows == [
        {"figure": "loss", "first step": "3", "last step": "1", "all steps": "█▅▁"},
        {"figure": "ranking margin (nats/token)", "first step": "-0.25", "last step": "-0.25", "all steps": "▄▄▄"},
    ]
    assert step_lines([]) == training_section([], "") == []
    assert step_lines(steps(1))[0].startswith("training, 1 step ")


def test_lines_fit_a_terminal() -> None:
    """Prevents a curve that the terminal breaks."""
    assert max(map(len, step_lines(steps(500, ranking_margin=-1.23456e-5)))) <= 80


def test_the_plot_has_a_panel_per_group() -> None:
    """Prevents a plot that fails for one step, for none, or for a figure that some steps lack."""
    some = steps(2, grad_norm=0.5)
    some[0]["grad_norm"] = None
    svg = plot_training(some, "Experiment $x$, round 1").decode()
    assert "Gradient norm" in svg
    assert "Ranking accuracy" not in svg
    assert plot_training(steps(1), "one") != plot_training([], "one")
    assert plot_training(some, "t") == plot_training(some, "t")
