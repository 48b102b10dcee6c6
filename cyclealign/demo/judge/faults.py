"""Simulated faults of the simulated judge, so that one can see what the loop does with a bad one."""

from dataclasses import dataclass
from typing import Literal, get_args

from cyclealign.errors import BadConfig

Kind = Literal["status", "slow", "garbage", "incomplete"]
GARBAGE = "All of these are fine answers, each in its own way."


@dataclass(frozen=True)
class Fault:
    """Strikes every ``every``-th request.

    ``status``: reply with the HTTP status ``value``. ``slow``: wait ``value`` seconds first. ``garbage``: reply in
    prose that ranks nothing. ``incomplete``: leave the last label out.
    """

    kind: Kind
    value: float = 0.0
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read ``status:500:every:3``, ``slow:0.2``, ``garbage:every:2`` and the like.

        Raises:
            BadConfig: it is none of these.
        """
        head, _, every = text.partition(":every:")
        kind, _, value = head.partition(":")
        try:
            fault = cls(_kind(kind), float(value or 0), int(every or 1))
        except ValueError as error:
            raise BadConfig(_advice(text)) from error
        if fault.every < 1 or fault.value < 0 or (fault.kind == "status" and not 400 <= fault.value <= 599):
            raise BadConfig(_advice(text))
        return fault

    def strikes(self, number: int) -> bool:
        """Whether the request with this number, counted from 1, is hit."""
        return number % self.every == 0


def _kind(text: str) -> Kind:
    for kind in get_args(Kind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(text)


def _advice(text: str) -> str:
    return (
        f"'{text}' is no simulated fault. Give status:CODE (400 to 599), slow:SECONDS, garbage or incomplete, with "
        ":every:N at the end for every N-th request."
    )
