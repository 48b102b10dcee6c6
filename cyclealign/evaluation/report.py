"""Shared parts of the reports of rounds and of distillation runs: numbers, intervals, Markdown. Loads no plotting."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence

from cyclealign.records import Metric

ABSENT = "n/a"  # the Prefect UI shows a single dash as a bullet


def two_decimals(value: float) -> str:
    """Format a number of a round: shares, correlations and nats."""
    return f"{value:.2f}"


def three_digits(value: float) -> str:
    """Format a number of any size: three decimals below 10, one from there on."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def usd_cell(usd: float, estimated_usd: float) -> str:
    """Format a cost in US dollars; the part that no provider confirmed stands beside it."""
    return f"{usd:.4f}" if not estimated_usd else f"{usd:.4f} ({estimated_usd:.4f} estimated)"


def interval(metric: Metric | None, number: Callable[[float], str] = two_decimals) -> str:
    """Format a value with its 95 % interval if it has one; None is n/a."""
    if metric is None:
        return ABSENT
    if metric.low is None or metric.high is None:
        return number(metric.value)
    return f"{number(metric.value)} [{number(metric.low)}, {number(metric.high)}]"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows with the same keys as a Markdown table; an empty text without rows."""
    if not rows:
        return ""
    return "\n".join([_line(rows[0]), "|---" * len(rows[0]) + "|", *(_line(row.values()) for row in rows)])


def embedded(svg: bytes, alt: str) -> str:
    """Return a plot as a Markdown image that holds its own bytes, for pages without files next to them."""
    return f"![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg).decode()})\n"


def _line(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table; a bar would split its cell, and a line feed would end the table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
