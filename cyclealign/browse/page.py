"""A page as a value, and its forms: HTML, CSV, JSON Lines."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any
from urllib.parse import urlencode

from fastapi import Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from cyclealign.browse.render import html
from cyclealign.text import storable_text

Row = Mapping[str, Any]


class Form(StrEnum):
    """The form in which a page is asked for."""

    HTML = "html"
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        template: file name of its Jinja template.
        title: plain text.
        values: variables of the template.
        rows: what is on the page as a table, for CSV and JSON Lines.
        path: links from the start page to the page above, each (text, address).
    """

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    path: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Part:
    """A part of a long list: page ``number``, from 1, of ``limit`` items each, out of ``count``."""

    number: int
    limit: int
    count: int

    @property
    def pages(self) -> int:
        """Return the number of pages, at least 1."""
        return max(1, ceil(self.count / self.limit))

    @property
    def first(self) -> int:
        """Return the place of the first item, from 1; 0 without items."""
        return min((self.number - 1) * self.limit + 1, self.count)

    @property
    def last(self) -> int:
        """Return the place of the last item."""
        return min(self.number * self.limit, self.count)


def address(path: str, query: Sequence[tuple[str, object]] = ()) -> str:
    """Return a link with the parts of the query that are not empty."""
    given = [(name, str(value)) for name, value in query if value not in (None, "", False)]
    return f"{path}?{urlencode(given)}" if given else path


def respond(page: Page, form: Form, shared: Mapping[str, Any]) -> Response:
    """Return the page in the form asked for.

    Args:
        shared: variables that all templates have.
    """
    if form is Form.HTML:
        return HTMLResponse(html(page.template, {**shared, **page.values, "title": page.title, "path": page.path}))
    text, kind = (as_csv(page.rows), "text/csv") if form is Form.CSV else (as_jsonl(page.rows), "application/jsonl")
    name = "-".join("".join(sign if sign.isalnum() else " " for sign in page.title.lower()).split())
    headers = {"Content-Disposition": f'attachment; filename="{name[:80].encode("ascii", "ignore").decode()}.{form}"'}
    return PlainTextResponse(text.encode(), media_type=f"{kind}; charset=utf-8", headers=headers)


def as_jsonl(rows: Sequence[Row]) -> str:
    """Return a JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV with a header; lists and mappings as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    return file.getvalue()


def _cell(value: object) -> object:
    """Return a cell; text that a spreadsheet would run as a formula begins with an apostrophe."""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        return storable_text(f"'{value}" if value.lstrip()[:1] in ("=", "+", "-", "@") else value)
    return value
