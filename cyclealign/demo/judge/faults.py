"""Simulated faults of the simulated judge, to test how the loop handles a failing judge."""

from dataclasses import dataclass
from typing import Literal, get_args

from cyclealign.errors import BadConfig

Kind = Literal["status", "slow", "garbage", "incomplete"]
GARBAGE = "All of these are fine answers, each in its own way."


@dataclass(frozen=True)
class Fault:
    """A fault on every ``every``-th request.

    ``status``: reply with the HTTP status ``value``. ``slow``: wait ``value`` seconds first. ``garbage``: reply with
    prose instead of a ranking. ``incomplete``: omit the last label.
    """

    kind: Kind
    value: float = 0.0
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Parse a fault such as ``status:500:every:3``, ``slow:0.2`` or ``garbage:every:2``.

        Raises:
            BadConfig: the text is not a valid fault.
        """
        head, _, every = text.partition(":every:")
        kind, _, value = head.partition(":")
        try:
            fault = cls(_kind(kind), float(value or 0), int(every or 1))
        except ValueError as error:
            raise BadConfig(_usage(text)) from error
        if fault.every < 1 or fault.value < 0 or (fault.kind == "status" and not 400 <= fault.value <= 599):
            raise BadConfig(_usage(text))
        return fault

    def affects(self, number: int) -> bool:
        """Return whether this fault affects request ``number``, from 1."""
        return number % self.every == 0


def _kind(text: str) -> Kind:
    for kind in get_args(Kind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(text)


def _usage(text: str) -> str:
    return (
        f"'{text}' is not a simulated fault. Use status:CODE (400 to 599), slow:SECONDS, garbage or incomplete, with "
        "an optional :every:N for every N-th request."
    )
