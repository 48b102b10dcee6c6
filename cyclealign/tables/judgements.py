"""What the judge's rankings rest on, and what was odd about replies and answers."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, Id, RoundPart, of_the_round, one_of


class RankingPreference(Base):
    """One compared pair of a ranking: this share of the verdicts, 0.5 or more, placed ``better`` above ``worse``."""

    __tablename__ = "ranking_preference"
    __table_args__ = (CheckConstraint("share >= 0.5 AND share <= 1", name="share"),)
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"), primary_key=True)
    better_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    worse_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    position: Mapped[int]
    share: Mapped[float]
    verdicts: Mapped[int]


class RankingReason(Base):
    """What the judge said of one answer, if it was asked for reasons."""

    __tablename__ = "ranking_reason"
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"))
    reason: Mapped[str]


class UnjudgedPrompt(Base):
    """A prompt on which the judge gave no verdict, and why; the row goes when a later try succeeds."""

    __tablename__ = "unjudged_prompt"
    __table_args__ = (
        ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"]),
    )
    round_id: Mapped[RoundPart]
    prompt_id: Mapped[Id]
    reason: Mapped[str]


class ReplyProblem(Base):
    """Why the reply to a call could not be read."""

    __tablename__ = "reply_problem"
    judge_call_id: Mapped[int] = mapped_column(ForeignKey("judge_call.id"), primary_key=True)
    problem: Mapped[str]


class CandidateFlag(Base):
    """An answer that looks as if it were meant to sway the judge: what kind, and the place."""

    __tablename__ = "candidate_flag"
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    excerpt: Mapped[str]


class JudgeEndpoint(Base):
    """What an endpoint was found to support; ``id`` is a hash of its address and model."""

    __tablename__ = "judge_endpoint"
    id: Mapped[Id]
    model: Mapped[str]
    json_schema: Mapped[bool]
    found_at: Mapped[datetime]


class Review(Base):
    """A list that a person was asked to rank, and why. ``verdict``: its candidates, best first, once there is one.

    ``learnt``: the verdict came before training, and the round's adapter was trained on it.
    """

    __tablename__ = "review"
    __table_args__ = (
        of_the_round(),
        one_of("status", "waiting", "answered", "skipped"),
        CheckConstraint("(status = 'answered') = (verdict IS NOT NULL)", name="answered_means_verdict"),
        CheckConstraint("status = 'answered' OR NOT learnt", name="learnt_means_answered"),
    )
    round_id: Mapped[RoundPart]
    prompt_id: Mapped[Id]
    position: Mapped[int]
    why: Mapped[str]
    status: Mapped[str]
    verdict: Mapped[list[Any] | None]
    learnt: Mapped[bool]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class Rejudgement(Base):
    """A stored round put to another judge, template or set of demonstrations, and how its verdicts differed.

    ``id`` is a hash of the requests. ``flips`` is the mean over ``lists`` of the share of decided pairs that came out
    the other way (null: none was decided both times), of ``pairs`` in all; ``unread`` lists got no verdict. The cost is
    what was paid for its requests, whenever that was.
    """

    __tablename__ = "rejudgement"
    id: Mapped[Id]
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"), index=True)
    model: Mapped[str]
    template_hash: Mapped[str] = mapped_column(ForeignKey("template.hash"))
    demonstrations: Mapped[str]
    lists: Mapped[int]
    unread: Mapped[int]
    pairs: Mapped[int]
    flips: Mapped[float | None]
    flips_low: Mapped[float | None]
    flips_high: Mapped[float | None]
    tau: Mapped[float]
    tau_low: Mapped[float]
    tau_high: Mapped[float]
    calls: Mapped[int]
    tokens: Mapped[int]
    cost_usd: Mapped[float]
    made_at: Mapped[datetime]
