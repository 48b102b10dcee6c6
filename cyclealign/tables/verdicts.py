"""Candidates of a round, judge calls, rankings and agreements."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, ExperimentKey, Id, Key, RoundKey, RoundPart, of_the_round, one_of


class Candidate(Base):
    """An answer of the policy; log-probs in nats. ``adapter_id`` null: the base model wrote it.

    ``copied_from``: the answer of an abandoned round that this round took over.
    ``thought`` to ``thought_logprob_sum``: the reasoning before the answer, if it is not part of ``text``; it is the
    first ``thought_tokens`` of ``token_ids``, and part of ``logprob_sum`` but not of ``mean_logprob``.
    """

    __tablename__ = "candidate"
    __table_args__ = (
        of_the_round(),
        Index("ix_candidate_round_id_prompt_id", "round_id", "prompt_id"),
        Index(
            "ix_candidate_truncated",
            *("round_id", "prompt_id"),
            sqlite_where=text("finish_reason = 'length'"),
            postgresql_where=text("finish_reason = 'length'"),
        ),
        one_of("finish_reason", "stop", "length"),
    )
    id: Mapped[Id]
    round_id: Mapped[RoundKey]
    prompt_id: Mapped[str]
    position: Mapped[int]
    text: Mapped[str]
    token_ids: Mapped[list[Any]]
    token_count: Mapped[int]
    logprob_sum: Mapped[float]
    mean_logprob: Mapped[float]
    finish_reason: Mapped[str]
    adapter_id: Mapped[str | None] = mapped_column(ForeignKey("adapter.id"))
    sampling: Mapped[dict[str, Any] | None]
    copied_from: Mapped[str | None]
    thought: Mapped[str | None]
    thought_tokens: Mapped[int | None]
    thought_logprob_sum: Mapped[float | None]


def _of_answered(name: str, *columns: str) -> Index:
    """Return an index of the answered calls."""
    answered = text("status = 'answered'")
    return Index(name, *columns, sqlite_where=answered, postgresql_where=answered)


class JudgeCall(Base):
    """One complete request to the judge. Tokens, cost and seconds are sums over all its paid attempts.

    ``attempts`` counts the requests sent; 0: the reply of another experiment was reused, at no cost to this one.
    ``estimated_tokens`` and ``estimated_usd`` are the part of tokens and cost that no provider confirmed.
    """

    __tablename__ = "judge_call"
    __table_args__ = (
        UniqueConstraint("experiment_id", "key"),
        Index(
            "ix_judge_call_estimated",
            "round_id",
            sqlite_where=text("estimated_tokens > 0"),
            postgresql_where=text("estimated_tokens > 0"),
        ),
        _of_answered("ix_judge_call_answered", "experiment_id", "key"),
        _of_answered("ix_judge_call_answered_key", "key"),
        # All that the sums over a round's calls read.
        Index(
            "ix_judge_call_spending",
            *("round_id", "purpose", "status", "model", "template_hash", "attempts", "prompt_tokens"),
            *("completion_tokens", "cost_usd", "seconds", "estimated_tokens", "estimated_usd"),
        ),
        one_of("status", "answered", "failed"),
        CheckConstraint("status = 'failed' OR reply IS NOT NULL", name="answered_means_reply"),
    )
    id: Mapped[Key]
    experiment_id: Mapped[ExperimentKey]
    round_id: Mapped[RoundKey]
    purpose: Mapped[str]
    subject_id: Mapped[str]
    key: Mapped[str]
    model: Mapped[str]
    template_hash: Mapped[str] = mapped_column(ForeignKey("template.hash"))
    messages: Mapped[list[Any]]
    shown: Mapped[list[Any]]
    parameters: Mapped[dict[str, Any]]
    status: Mapped[str]
    reply: Mapped[str | None]
    returned_model: Mapped[str | None]
    prompt_tokens: Mapped[int]
    cached_prompt_tokens: Mapped[int] = mapped_column(server_default="0")
    completion_tokens: Mapped[int]
    cost_usd: Mapped[float]
    seconds: Mapped[float]
    estimated_tokens: Mapped[int] = mapped_column(server_default="0")
    estimated_usd: Mapped[float] = mapped_column(server_default="0")
    finish_reason: Mapped[str | None]
    error: Mapped[str | None]
    attempts: Mapped[int]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class JudgeBatch(Base):
    """Calls that are submitted to the provider's batch API together; written before submission, under our ``token``.

    ``batch_id`` null: the provider has not confirmed the batch, or never received it.
    """

    __tablename__ = "judge_batch"
    __table_args__ = (one_of("status", "submitting", "submitted", "collected"),)
    id: Mapped[Key]
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"), index=True)
    round_id: Mapped[RoundKey]
    token: Mapped[str] = mapped_column(unique=True)
    batch_id: Mapped[str | None]
    call_keys: Mapped[list[Any]]
    status: Mapped[str]
    submitted_at: Mapped[datetime]
    collected_at: Mapped[datetime | None]


class Ranking(Base):
    """A ranking of one prompt's candidates by policy, judge or their agreement.

    ``score``: the one by which the policy ranked, without its slope in the number of tokens if ``length_slope`` is not
    null. Null in other rankings, and in those of versions that ranked by the mean log-prob alone.
    """

    __tablename__ = "ranking"
    __table_args__ = (
        of_the_round(),
        UniqueConstraint("round_id", "prompt_id", "ranked_by"),
        one_of("ranked_by", "policy", "judge", "agreement"),
    )
    id: Mapped[Key]
    round_id: Mapped[RoundKey]
    prompt_id: Mapped[str]
    ranked_by: Mapped[str]
    steadiness: Mapped[float]
    score: Mapped[str | None]
    length_slope: Mapped[float | None]


class RankingPlace(Base):
    """The place of a candidate in a ranking, 1 is the best, and its score if the policy ranked."""

    __tablename__ = "ranking_place"
    __table_args__ = (UniqueConstraint("ranking_id", "candidate_id"),)
    ranking_id: Mapped[int] = mapped_column(ForeignKey("ranking.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"))
    score: Mapped[float | None]


class Agreement(Base):
    """Agreement of policy and judge on a prompt; ``agreed``: their longest common subsequence, best first."""

    __tablename__ = "agreement"
    __table_args__ = (of_the_round(),)
    round_id: Mapped[RoundPart]
    prompt_id: Mapped[Id]
    agreed: Mapped[list[Any]]
    lcs_length: Mapped[int]
    answers: Mapped[int]
    chance_probability: Mapped[float]
    tau: Mapped[float]
    weight: Mapped[float]
