"""Experiments, their rounds, and the inputs and metrics of each round."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, BigNumber, ExperimentKey, Id, Key, RoundPart, one_of


class Experiment(Base):
    """A series of rounds. ``seed`` is that of its first round.

    ``origin`` is the name from which the ids and seeds of its rows follow; null: ``name``, as long as it was never
    renamed. An archived experiment is hidden and takes no new round.
    """

    __tablename__ = "experiment"
    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    seed: Mapped[BigNumber]
    created_at: Mapped[datetime]
    origin: Mapped[str | None]
    archived_at: Mapped[datetime | None]


class ExperimentLease(Base):
    """The run that advances an experiment, by the experiment's name: the first lease is older than the first round.

    ``failures`` counts the runs that failed since the last round was closed.
    """

    __tablename__ = "experiment_lease"
    experiment: Mapped[Id]
    owner: Mapped[str]
    run_name: Mapped[str]
    taken_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    failures: Mapped[int]
    last_failure: Mapped[str | None]


class Round(Base):
    """One step of an experiment, held by ``owner`` until ``lease_until`` while it is open.

    ``settings`` are those in effect; a `RoundChange` says which of them were others before. ``kept``: the next round
    starts from its weights, as from those of every accepted round and, by setting, of an undecided one.
    """

    __tablename__ = "round"
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        one_of("status", "open", "closed"),
        one_of("verdict", "accepted", "rolled_back", "undecided", "abandoned"),
        CheckConstraint("(status = 'closed') = (verdict IS NOT NULL)", name="closed_means_decided"),
        Index(
            "uq_round_one_open",
            "experiment_id",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )
    id: Mapped[Key]
    experiment_id: Mapped[ExperimentKey]
    number: Mapped[int]
    status: Mapped[str]
    verdict: Mapped[str | None]
    kept: Mapped[bool] = mapped_column(server_default=false())
    reason: Mapped[str | None]
    owner: Mapped[str]
    lease_until: Mapped[datetime]
    seed: Mapped[BigNumber]
    settings: Mapped[dict[str, Any]]
    base_model: Mapped[str]
    # use_alter: a round names an adapter and an adapter names its round.
    parent_adapter_id: Mapped[str | None] = mapped_column(ForeignKey("adapter.id", use_alter=True))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Adapter(Base):
    """Fine-tuned weights in a folder. The row is written after the folder, so a row means a complete folder.

    ``pruned_at``: when the files were deleted on request; the row stays.
    """

    __tablename__ = "adapter"
    id: Mapped[Id]
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"), unique=True)
    path: Mapped[str]
    content_hash: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("adapter.id"))
    base_model: Mapped[str]
    created_at: Mapped[datetime]
    pruned_at: Mapped[datetime | None]


class RoundChange(Base):
    """A change of an open round: a setting by its dotted name, or a template or the demonstrations by their hash.

    ``before`` and ``after`` are lists of one value: a bare 0.0 would become an integer in a JSON column of SQLite.
    """

    __tablename__ = "round_change"
    id: Mapped[Key]
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"), index=True)
    setting: Mapped[str]
    before: Mapped[list[Any]]
    after: Mapped[list[Any]]
    owner: Mapped[str]
    changed_at: Mapped[datetime]


class RoundPrompt(Base):
    """A prompt that the round drew; ``set_aside_reason``: why it was left out of later steps, if it was.

    ``token_ids``: the rendered prompt, up to the start of the answer; null in rounds of versions that kept none.
    """

    __tablename__ = "round_prompt"
    __table_args__ = (UniqueConstraint("round_id", "purpose", "position"), one_of("purpose", "train", "held_out"))
    round_id: Mapped[RoundPart]
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), primary_key=True, index=True)
    purpose: Mapped[str]
    position: Mapped[int]
    set_aside_reason: Mapped[str | None]
    token_ids: Mapped[list[Any] | None]


class RoundTemplate(Base):
    """The version of a template that the round was opened with."""

    __tablename__ = "round_template"
    __table_args__ = (UniqueConstraint("round_id", "position"),)
    round_id: Mapped[RoundPart]
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    template_hash: Mapped[str] = mapped_column(ForeignKey("template.hash"), index=True)


class RoundDemonstration(Base):
    """A demonstration of the pool that the round was opened with; later promotions do not change the pool."""

    __tablename__ = "round_demonstration"
    __table_args__ = (UniqueConstraint("round_id", "demonstration_id"),)
    round_id: Mapped[RoundPart]
    position: Mapped[int] = mapped_column(primary_key=True)
    demonstration_id: Mapped[str] = mapped_column(ForeignKey("demonstration.id"), index=True)
    tau: Mapped[float]
    chance: Mapped[float]
    promoted_in_round_number: Mapped[int | None]


class Metric(Base):
    """A metric of a round, with its 95 % bounds, the number of items that it rests on, and its unit."""

    __tablename__ = "metric"
    round_id: Mapped[RoundPart]
    name: Mapped[Id]
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    count: Mapped[int | None]
    unit: Mapped[str]


class TrainingStep(Base):
    """The figures of one step of the round's training, of its last attempt; null: not measured."""

    __tablename__ = "training_step"
    round_id: Mapped[RoundPart]
    step: Mapped[int] = mapped_column(primary_key=True)
    loss: Mapped[float | None]
    ranking_loss: Mapped[float | None]
    sft_loss: Mapped[float | None]
    kl_loss: Mapped[float | None]
    grad_norm: Mapped[float | None]
    ranking_grad_norm: Mapped[float | None]
    sft_grad_norm: Mapped[float | None]
    kl_grad_norm: Mapped[float | None]
    learning_rate: Mapped[float | None]
    ranking_margin: Mapped[float | None]
    ranking_accuracy: Mapped[float | None]
    kl_from_parent: Mapped[float | None]
    tokens: Mapped[BigNumber | None]
    seconds: Mapped[float | None]


class RoundStep(Base):
    """Seconds spent on a step of the round, summed over ``runs`` (a resumed round has several)."""

    __tablename__ = "round_step"
    round_id: Mapped[RoundPart]
    step: Mapped[Id]
    seconds: Mapped[float]
    runs: Mapped[int]


class RoundNote(Base):
    """A remark on a round for readers of the history, at most one per subject."""

    __tablename__ = "round_note"
    round_id: Mapped[RoundPart]
    about: Mapped[Id]
    words: Mapped[str]
