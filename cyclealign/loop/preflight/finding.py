"""The result of one check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cyclealign.errors import CycleAlignError

Level = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: the part that was checked.
        message: the result; for a note or a missing part also the setting and the remedy.
        level: ``note``: the run goes on, but differs from what the settings say. ``missing``: the run cannot succeed.
    """

    subject: str
    message: str
    level: Level = "ok"

    @property
    def missing(self) -> bool:
        """Return whether the run cannot succeed."""
        return self.level == "missing"


def missing(subject: str, message: str) -> Finding:
    """Return a finding that stops the run."""
    return Finding(subject, message, "missing")


def note(subject: str, message: str) -> Finding:
    """Return a finding that is said once."""
    return Finding(subject, message, "note")


def attempt(subject: str, check: Callable[[], str]) -> Finding:
    """Return the check's message as a finding; an error of this project is a missing part."""
    try:
        return Finding(subject, check())
    except CycleAlignError as error:
        return missing(subject, str(error))
