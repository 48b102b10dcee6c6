"""Totals of closed rounds: sums over rows that are too many to be read for each look at the history.

They are written in the transaction that closes the round, and again in one that adds a call to a closed round. An open
round has none.
"""

from typing import Annotated

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, Id, RoundPart

Sum = Annotated[int, mapped_column(BigInteger)]


class RoundTotal(Base):
    """The numbers of a closed round's prompts and answers, by the names of the view ``round_summary``."""

    __tablename__ = "round_total"
    round_id: Mapped[RoundPart]
    prompts: Mapped[Sum]
    held_out_prompts: Mapped[Sum]
    prompts_judged: Mapped[Sum]
    prompts_unjudged: Mapped[Sum]
    prompts_set_aside: Mapped[Sum]
    answers: Mapped[Sum]
    held_out_answers: Mapped[Sum]


class CallTotal(Base):
    """The judge calls of a closed round, by model, purpose and version of the template; ``first_call``: lowest id."""

    __tablename__ = "call_total"
    round_id: Mapped[RoundPart]
    model: Mapped[Id]
    purpose: Mapped[Id]
    template_hash: Mapped[str] = mapped_column(ForeignKey("template.hash"), primary_key=True)
    first_call: Mapped[Sum]
    answered_calls: Mapped[Sum]
    failed_calls: Mapped[Sum]
    attempts: Mapped[Sum]
    prompt_tokens: Mapped[Sum]
    completion_tokens: Mapped[Sum]
    cost_usd: Mapped[float]
    seconds: Mapped[float]
    estimated_tokens: Mapped[Sum]
    estimated_usd: Mapped[float]
