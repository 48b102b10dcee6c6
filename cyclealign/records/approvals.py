"""Rounds whose verdict waits for a person, and what people decided about them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Choice = Literal["accept", "reject", "stop"]


@dataclass(frozen=True)
class Decision:
    """What a person decided about a round, with a comment for the history."""

    choice: Choice
    comment: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True)
class Approval:
    """A round that waits, or waited, for a person.

    Attributes:
        experiment, number: the round.
        verdict, reason: what its evidence suggests.
        run: id of the run that asked.
        decisions: the earliest first; the last one counts.
    """

    round_id: int
    experiment: str
    number: int
    verdict: Literal["accepted", "rolled_back", "undecided"]
    reason: str
    run: str
    asked_at: datetime
    decisions: tuple[Decision, ...]

    @property
    def decision(self) -> Decision | None:
        """Return the decision that counts; None: nobody has decided yet."""
        return self.decisions[-1] if self.decisions else None
