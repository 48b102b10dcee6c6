"""The page of one round, as Markdown for the Prefect UI: verdict, figures, cost, and some answers in both rankings.

Text that a model wrote is escaped and kept on one line, so that a page shows it as it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cyclealign.evaluation import metric_table
from cyclealign.evaluation.approval_page import approval_lines
from cyclealign.evaluation.metric_table import RoundMetric
from cyclealign.evaluation.report import markdown_table, two_decimals
from cyclealign.evaluation.training_figures import training_section
from cyclealign.records import Metric
from cyclealign.text import plain_text

MAX_PROMPTS = 10
MAX_CHARS = 600
PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
VERDICTS = {"rolled_back": "rolled back", None: "open"}


def round_page(
    detail: Mapping[str, Any], measured: Mapping[str, Metric], plot: str = "", training_plot: str = ""
) -> str:
    """Return the page.

    Args:
        detail: the round in the history.
        measured: its metrics by name.
        plot: of all rounds of the experiment, as Markdown.
        training_plot: of the round's training steps, as Markdown.
    """
    summary = detail["summary"]
    verdict = VERDICTS.get(summary["verdict"], str(summary["verdict"]))
    parts = [f"# Experiment {summary['experiment']}, round {summary['number']}: {verdict}", reason(detail), plot]
    if figures := figure_rows(measured):
        parts += ["## Figures", markdown_table(figures), *examiner(measured, examiner_of(detail)), meanings(measured)]
    parts += training_section(detail["training_steps"], training_plot)
    parts += ["## Cost", cost(detail), markdown_table(step_rows(detail["steps"]))]
    shown = prompts_to_show(detail["prompts"])
    if shown:
        ranked = sum(both_rankings(prompt) for prompt in detail["prompts"])
        parts += [f"## Answers to {len(shown)} of {ranked} prompts", EXPLANATION]
        parts += [prompt_block(number, prompt) for number, prompt in enumerate(shown, 1)]
    return "\n\n".join(part for part in parts if part) + "\n"


EXPLANATION = (
    "Best answer first, by the judge and by the policy's own log-probs. From the list on which they agree least to the "
    "one on which they agree most."
)


EXAMINER = (
    "Teacher and examiner are the same model: the judge whose rankings train the policy also compares its answers with "
    "the parent's. What it likes wrongly counts twice; accuracy on labels and people's reviews are independent of it."
)


def reason(detail: Mapping[str, Any]) -> str:
    """Return the verdict's reason and the notes of the round, as escaped lines."""
    words = [detail["summary"]["reason"] or "The round is not finished."]
    words += approval_lines(detail["approval"])
    words += [f"{about}: {note}" for about, note in detail["notes"].items()]
    return "\n\n".join(paragraph(line[:1].upper() + line[1:]) for line in words)


def figure_rows(measured: Mapping[str, Metric]) -> list[dict[str, str]]:
    """Return a row per metric that the round has, in the order of the table of metrics."""
    return [
        {
            "figure": figure_name(metric, name),
            "value": f"{two_decimals(measured[name].value)} {measured[name].unit}".strip(),
            "95 % interval": bounds(measured[name]),
            "items": "" if measured[name].count is None else f"{measured[name].count:,}",
        }
        for metric in metric_table.ROUND_METRICS
        for name in names_of(metric, measured)
    ]


def examiner_of(detail: Mapping[str, Any]) -> str | None:
    """Return the model that judged the duels; None if it is that of the rankings."""
    model: str | None = detail.get("settings", {}).get("evaluation", {}).get("judge")
    return model


def examiner(measured: Mapping[str, Metric], model: str | None) -> list[str]:
    """Return who judged the duels, as paragraphs; none if there were no duels.

    Args:
        model: of the judge of the duels; None: that of the rankings.
    """
    if "win_rate" not in measured:
        return []
    return [
        EXAMINER if model is None else paragraph(f"The duels were judged by {model}, another model than the teacher.")
    ]


def meanings(measured: Mapping[str, Metric]) -> str:
    """Return what each figure means, folded away."""
    lines = "".join(
        f"<p><b>{figure_name(metric, metric.name)}</b>: {cell_text(metric.meaning)}</p>"
        for metric in metric_table.ROUND_METRICS
        if names_of(metric, measured)
    )
    return f"<details><summary>What the figures mean</summary>{lines}</details>"


def figure_name(metric: RoundMetric, name: str) -> str:
    """Return the label of a metric, with its subject where the label alone does not name it."""
    label = metric.label if metric.name == name else f"{metric.label} {name.removeprefix(metric.name)}"
    return f"judge's accuracy: {label}" if metric.panel == metric_table.ACCURACY else label


def names_of(metric: RoundMetric, measured: Mapping[str, Metric]) -> list[str]:
    """Return the names under which the round has the metric: several for a family, none if it was not measured."""
    if metric.family:
        return sorted(name for name in measured if name.startswith(metric.name))
    return [metric.name] if metric.name in measured else []


def bounds(metric: Metric) -> str:
    """Return the interval, or an empty cell without one."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{two_decimals(metric.low)} to {two_decimals(metric.high)}"


def cost(detail: Mapping[str, Any]) -> str:
    """Return calls, tokens, money and time of the round as a sentence."""
    summary = detail["summary"]
    failed = len(detail["failed_calls"])
    lost = f" ({failed:,} failed)" if failed else ""
    return (
        f"{summary['judge_calls'] or 0:,} judge calls{lost}, {summary['judge_tokens'] or 0:,} tokens, "
        f"{summary['cost_usd'] or 0:.4f} USD, {summary['seconds'] or 0:.0f} seconds."
    )


def step_rows(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row per step, the longest first."""
    ordered = sorted(steps, key=lambda step: -step["seconds"])
    return [{"step": str(step["step"]).replace("_", " "), "seconds": f"{step['seconds']:.1f}"} for step in ordered]


def both_rankings(prompt: Mapping[str, Any]) -> bool:
    """Return whether judge and policy have ranked the answers to this prompt."""
    return {"judge", "policy"} <= set(prompt["rankings"])


def prompts_to_show(prompts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return at most MAX_PROMPTS prompts with both rankings, evenly spread from low to high agreement."""

    def tau(prompt: Mapping[str, Any]) -> tuple[float, str]:
        return (prompt["agreement"]["tau"] if prompt["agreement"] else 0.0, prompt["id"])

    ranked = sorted((prompt for prompt in prompts if both_rankings(prompt)), key=tau)
    count = min(len(ranked), MAX_PROMPTS)
    return [ranked[place * (len(ranked) - 1) // max(count - 1, 1)] for place in range(count)]


def prompt_block(number: int, prompt: Mapping[str, Any]) -> str:
    """Return a prompt and a table of its answers: one row per place, one column per ranking."""
    text = {candidate["id"]: candidate["text"] for candidate in prompt["candidates"]}
    rankings = [[cell_text(text[one]) for one in prompt["rankings"][by]["order"]] for by in ("judge", "policy")]
    rows = "".join(
        f"<tr><td>{place}</td><td>{judge}</td><td>{policy}</td></tr>"
        for place, (judge, policy) in enumerate(zip(*rankings, strict=True), 1)
    )
    tau = f" (tau {two_decimals(prompt['agreement']['tau'])})" if prompt["agreement"] else ""
    head = "<tr><th>place</th><th>judge</th><th>policy</th></tr>"
    return f"### Prompt {number}{tau}\n\n{paragraph(prompt['text'])}\n\n<table>{head}{rows}</table>"


def paragraph(text: str) -> str:
    """Return text as a paragraph of HTML: the Prefect UI shows entities in a paragraph of Markdown as they are."""
    return f"<p>{cell_text(text)}</p>"


def cell_text(text: str) -> str:
    """Return text as one line that shows it literally in HTML and in Markdown, cut at MAX_CHARS.

    All ASCII punctuation becomes entities: none of it can begin a tag, a mark of Markdown, a link or a table's cell.
    """
    shown = plain_text(text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} ...")
    escaped = PUNCTUATION.sub(lambda sign: f"&#{ord(sign.group())};", shown)
    return "<br>".join(escaped.split("\n"))
