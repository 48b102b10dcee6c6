"""Details of rankings, unreadable replies, flags and further log-probs of candidates, reviews and rejudgements."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, BigNumber, Id, RoundPart, of_the_round, one_of


class RankingPreference(Base):
    """One compared pair of a ranking: a ``share`` of at least 0.5 of the verdicts ranks ``better`` above ``worse``."""

    __tablename__ = "ranking_preference"
    __table_args__ = (CheckConstraint("share >= 0.5 AND share <= 1", name="share"),)
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"), primary_key=True)
    better_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    worse_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    position: Mapped[int]
    share: Mapped[float]
    verdicts: Mapped[int]


class RankingReason(Base):
    """The judge's reason for the place of one answer, if reasons were requested."""

    __tablename__ = "ranking_reason"
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"))
    reason: Mapped[str]


class UnjudgedPrompt(Base):
    """A prompt without a verdict, and why; the row is deleted once a later attempt succeeds."""

    __tablename__ = "unjudged_prompt"
    __table_args__ = (
        ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"]),
    )
    round_id: Mapped[RoundPart]
    prompt_id: Mapped[Id]
    reason: Mapped[str]


class ReplyProblem(Base):
    """Why the reply to a call could not be parsed."""

    __tablename__ = "reply_problem"
    judge_call_id: Mapped[int] = mapped_column(ForeignKey("judge_call.id"), primary_key=True)
    problem: Mapped[str]


class CandidateFlag(Base):
    """A sign that an answer tries to manipulate the judge: its kind, and an excerpt of the answer."""

    __tablename__ = "candidate_flag"
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    excerpt: Mapped[str]


class CandidateLogprob(Base):
    """A log-prob of a candidate in nats, beside that of its generation; ``kind``: under which weights and context."""

    __tablename__ = "candidate_logprob"
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    kind: Mapped[Id]
    value: Mapped[float]


class JudgeEndpoint(Base):
    """Capabilities of an endpoint; ``id`` is a hash of its address and model."""

    __tablename__ = "judge_endpoint"
    id: Mapped[Id]
    model: Mapped[str]
    json_schema: Mapped[bool]
    found_at: Mapped[datetime]


class EndpointRefusal(Base):
    """A request parameter that an endpoint refuses, in its words; ``endpoint_id`` is that of `JudgeEndpoint`."""

    __tablename__ = "judge_endpoint_refusal"
    endpoint_id: Mapped[Id]
    parameter: Mapped[Id]
    model: Mapped[str]
    words: Mapped[str]
    found_at: Mapped[datetime]


class Review(Base):
    """A list that was sent to reviewers, and why. ``verdict``: ids of its candidates, best first, once answered.

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
    """A stored round judged again by another judge, template or set of demonstrations, compared with its own labels.

    ``id`` is a hash of the requests. ``flips`` is the mean over ``lists`` of the share of decided pairs that flipped
    (null: none was decided both times), ``pairs`` their number; ``unread`` lists got no verdict. The cost covers all
    its requests, whenever they were paid for.
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
    tokens: Mapped[BigNumber]
    cost_usd: Mapped[float]
    made_at: Mapped[datetime]
