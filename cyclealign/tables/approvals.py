"""Rounds that wait for a person, and what people decided."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, Key, RoundPart, one_of


class Approval(Base):
    """A round whose verdict waits for a person: the verdict that its evidence suggests, and the run that asked.

    ``kept``: whether the next round would start from its weights.
    """

    __tablename__ = "approval"
    __table_args__ = (one_of("verdict", "accepted", "rolled_back", "undecided"),)
    round_id: Mapped[RoundPart]
    verdict: Mapped[str]
    reason: Mapped[str]
    kept: Mapped[bool]
    run: Mapped[str]
    asked_at: Mapped[datetime]


class Decision(Base):
    """What a person decided about a round that waited. A later one counts instead, and the earlier ones stay."""

    __tablename__ = "decision"
    __table_args__ = (one_of("choice", "accept", "reject", "stop"),)
    id: Mapped[Key]
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"), index=True)
    choice: Mapped[str]
    comment: Mapped[str]
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
