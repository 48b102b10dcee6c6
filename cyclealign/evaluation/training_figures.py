"""The figures of a round's training steps: a table with start and end, small curves as text, and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cyclealign.evaluation.report import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Steps = Sequence[Mapping[str, Any]]  # `training_steps` of a round in the history
BLOCKS = "▁▂▃▄▅▆▇█"
MAX_BLOCKS = 24


@dataclass(frozen=True)
class StepFigure:
    """A figure of training steps: its name, label, meaning, and panel of the plot. None: not plotted."""

    name: str
    label: str
    meaning: str
    panel: str | None = None


LOSS, GRADIENTS, MARGIN = "Loss", "Gradient norms by log-prob sums", "Ranking margin"
FIGURES = (
    StepFigure("loss", "loss", "Mean loss of the step's lists or pairs.", LOSS),
    StepFigure("ranking_loss", "ranking term", "Part of the loss that follows from the ranking.", LOSS),
    StepFigure("sft_loss", "SFT term", "Part of the loss that imitates the best answer.", LOSS),
    StepFigure("kl_loss", "KL term", "Part of the loss that holds the policy near its parent.", LOSS),
    StepFigure("grad_norm", "gradient norm", "Of the trained weights, before it is scaled down.", "Gradient norm"),
    StepFigure("ranking_grad_norm", "of the ranking term", "By the answers' log-prob sums.", GRADIENTS),
    StepFigure("sft_grad_norm", "of the SFT term", "By the answers' log-prob sums.", GRADIENTS),
    StepFigure("kl_grad_norm", "of the KL term", "By the answers' log-prob sums.", GRADIENTS),
    StepFigure("learning_rate", "learning rate", "Of the next step."),
    StepFigure(
        "ranking_margin",
        "ranking margin (nats/token)",
        "Mean difference of mean log-probs, better minus worse answer, over decided pairs.",
        MARGIN,
    ),
    StepFigure(
        "ranking_accuracy",
        "ranking accuracy",
        "Share of the decided pairs that the policy's mean log-probs rank as decided.",
        "Ranking accuracy",
    ),
    StepFigure(
        "kl_from_parent",
        "KL from the parent (nats/token)",
        "Divergence from the policy at the start of the round, estimated on its answers.",
        "KL from the parent",
    ),
    StepFigure("tokens_per_second", "tokens per second", "Tokens of all sequences of the step, prompts included."),
)


def series(steps: Steps, figure: StepFigure) -> list[tuple[int, float]]:
    """Return (step, value) of the steps that have the figure; none for a term that is always 0."""
    points = [(step["step"], step[figure.name]) for step in steps if step[figure.name] is not None]
    return points if any(value for _, value in points) or figure.panel not in (LOSS, GRADIENTS) else []


def curve(values: Sequence[float]) -> str:
    """Return a curve of at most MAX_BLOCKS characters, each the mean of some consecutive values."""
    count = min(len(values), MAX_BLOCKS)
    bounds = [place * len(values) // count for place in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join(BLOCKS[round((mean - low) / (high - low) * 7) if high > low else 3] for mean in means)


def step_table(steps: Steps) -> list[dict[str, str]]:
    """Return a row per figure: its label, its value at the first step and at the last, and its curve."""
    return [
        {
            "figure": figure.label,
            "first step": short(points[0][1]),
            "last step": short(points[-1][1]),
            "all steps": curve([value for _, value in points]),
        }
        for figure in FIGURES
        if (points := series(steps, figure))
    ]


def step_lines(steps: Steps) -> list[str]:
    """Return the same as lines of text, under a heading; none without steps."""
    rows = step_table(steps)
    if not rows:
        return []
    heading = {name: name for name in rows[0]}
    heading["figure"] = f"training, {len(steps)} {'step' if len(steps) == 1 else 'steps'}"
    return [
        f"{row['figure']:<31}{row['first step']:>10}{row['last step']:>11}  {row['all steps']}"
        for row in (heading, *rows)
    ]


def training_section(steps: Steps, plot: str) -> list[str]:
    """Return the parts of a page about the training in Markdown; none without steps."""
    rows = step_table(steps)
    if not rows:
        return []
    lines = "".join(f"<p><b>{figure.label}</b>: {figure.meaning}</p>" for figure in FIGURES if series(steps, figure))
    folded = f"<details><summary>What these figures mean</summary>{lines}</details>"
    return [f"## Training, {len(steps)} {'step' if len(steps) == 1 else 'steps'}", plot, markdown_table(rows), folded]


def short(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:.4g}"


def plot_training(steps: Steps, title: str) -> bytes:
    """Return an SVG of the figures over the steps, a panel per group."""
    from cyclealign.evaluation import plots

    return plots.as_svg(lambda: _figure(steps, title))


def _figure(steps: Steps, title: str) -> "Figure":
    from cyclealign.evaluation import plots

    panels: dict[str, list[StepFigure]] = {}
    for figure in FIGURES:
        if figure.panel and series(steps, figure):
            panels.setdefault(figure.panel, []).append(figure)
    drawn = plots.new_figure(2.6 * -(-len(panels) // 3) if panels else 0.6, title)
    if panels:
        grid = drawn.subplots(-(-len(panels) // 3), 3, squeeze=False).flat
        for axes, (heading, figures) in zip(grid, panels.items(), strict=False):
            _draw(axes, heading, figures, steps)
        for axes in list(grid)[len(panels) :]:
            axes.set_visible(False)
    return drawn


def _draw(axes: "Axes", heading: str, figures: Sequence[StepFigure], steps: Steps) -> None:
    from cyclealign.evaluation import plots

    for figure in figures:
        numbers, values = zip(*series(steps, figure), strict=True)
        axes.plot(numbers, values, label=figure.label, marker="o" if len(numbers) == 1 else None)
    axes.set_title(heading, fontsize=10)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(plots.whole_numbers())
    axes.grid(alpha=0.25)
    if len(figures) > 1:
        axes.legend(fontsize=7)
