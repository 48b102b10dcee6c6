"""A row of a source: its place, its columns, the columns that were read, and remarks on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclealign.errors import BadPrompts
from cyclealign.text import unstorable_part


class RowRefused(Exception):
    """A row cannot be used; the message gives the reason and the fix, without the row's place."""


@dataclass(frozen=True)
class SourceRow:
    """A value and its place, such as ``file, line 3``; ``problem``: why the place holds no readable value."""

    where: str
    value: Any = None
    problem: str = ""


@dataclass
class Row:
    """The columns of a row without empty ones (null), and records of those that were read and of remarks.

    ``remarks`` counts changes to the row, such as a dropped turn, by their description.
    """

    columns: Mapping[str, Any]
    read: set[str] = field(default_factory=set)
    remarks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, value: Any) -> "Row":
        """Return the row of a JSON value.

        Raises:
            RowRefused: the value is not an object.
        """
        if not isinstance(value, dict):
            raise RowRefused('expected an object such as {"prompt": "..."}.')
        return cls({name: part for name, part in value.items() if part is not None})

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def take(self, name: str) -> Any:
        """Return a column, None if it is missing or null, and record that it was read."""
        if name in self.columns:
            self.read.add(name)
        return self.columns.get(name)

    def remark(self, words: str) -> None:
        """Count a remark."""
        self.remarks[words] += 1

    @property
    def unread(self) -> set[str]:
        """The columns that were not read."""
        return set(map(str, self.columns)) - self.read


def refuse_repeated(path: Path, names: Sequence[str]) -> None:
    """Raise BadPrompts if a table names a column twice: a row would keep the last of its values."""
    if repeated := next((name for name in names if name and names.count(name) > 1), ""):
        raise BadPrompts(f"{path}: the column '{repeated}' is there twice. Rename or remove one of them.")


def text_of(value: Any, name: str) -> str:
    """Return a text that a database and a tokenizer can take.

    Raises:
        RowRefused: the value is not a text, or holds a NUL or half a character.
    """
    if not isinstance(value, str):
        raise RowRefused(f"'{name}' must be a text; found {kind_of(value)}.")
    if problem := unstorable_part(value):
        raise RowRefused(f"'{name}' holds {problem}")
    return value


def check_texts(value: Any, name: str) -> None:
    """Check all texts of a JSON value as `text_of` does."""
    if isinstance(value, str):
        text_of(value, name)
    elif isinstance(value, dict):
        check_texts([*value, *value.values()], name)
    elif isinstance(value, list):
        for part in value:
            check_texts(part, name)


def kind_of(value: Any) -> str:
    """Return the kind of a JSON value as a word."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float) and value != value:
        return "NaN"
    names = {str: "a text", dict: "an object", list: "a list", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
