"""Render the Jinja templates of the pages: everything is escaped, and hidden characters are shown."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cyclealign.evaluation.report import interval, two_decimals, usd_cell
from cyclealign.records import Metric
from cyclealign.text import plain_text

MAX_CHARS = 4_000  # of a text on a page with many; the page of the prompt has all of it
MAX_WHOLE_CHARS = 200_000


@cache
def environment() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=PackageLoader("cyclealign.browse"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        shown=shown, whole=whole, metric=metric, decimals=two_decimals, usd=usd_cell, day=day, verdict=verdict
    )
    return made


def html(template: str, values: Mapping[str, Any]) -> str:
    """Return the page as HTML."""
    return environment().get_template(template).render(values)


def shown(text: object, limit: int = MAX_CHARS) -> str:
    """Return text with codes for characters that hide or turn round what is read, cut at ``limit`` characters."""
    whole_text = str(text)
    cut = whole_text[:limit]
    rest = len(whole_text) - len(cut)
    return plain_text(cut) + (f" ... ({rest:,} more characters)" if rest else "")


def whole(text: object) -> str:
    """Return text as `shown`, cut only where a browser would suffer."""
    return shown(text, MAX_WHOLE_CHARS)


def metric(value: Metric | None) -> str:
    """Return a metric with its interval; n/a for a missing one."""
    return interval(value)


def day(moment: str | None) -> str:
    """Return date and minute of a time in ISO form, in UTC; empty if there is none."""
    return "" if moment is None else moment[:16].replace("T", " ")


def verdict(value: str | None) -> str:
    """Return the verdict of a round in words."""
    return (value or "open").replace("_", " ")
