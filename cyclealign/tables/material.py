"""Inputs of rounds: prompts, labelled lists, templates and demonstrations."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, DemonstrationPart, Id, Key, PromptKey, RoundPart, one_of


class PromptSet(Base):
    """A named set of prompts and labelled lists; ``train`` and ``held_out`` count its members."""

    __tablename__ = "prompt_set"
    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    train: Mapped[int] = mapped_column(BigInteger, server_default="0")
    held_out: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Prompt(Base):
    """A conversation to answer; ``id`` is the hash of its messages, ``text`` the conversation as people read it."""

    __tablename__ = "prompt"
    id: Mapped[Id]
    messages: Mapped[list[Any]]
    text: Mapped[str]


class PromptSetMember(Base):
    """A prompt of a set, the split it is in, and the file or data set that it came from."""

    __tablename__ = "prompt_set_member"
    __table_args__ = (
        Index("ix_prompt_set_member_prompt_set_id_split_prompt_id", "prompt_set_id", "split", "prompt_id"),
        one_of("split", "train", "held_out"),
    )
    prompt_set_id: Mapped[int] = mapped_column(ForeignKey("prompt_set.id"), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), primary_key=True, index=True)
    split: Mapped[str]
    source: Mapped[str]


class LabelledList(Base):
    """Answers to one prompt, best first, in an order given by people or by a gold rule. Never trained on."""

    __tablename__ = "labelled_list"
    prompt_set_id: Mapped[int] = mapped_column(ForeignKey("prompt_set.id"), primary_key=True)
    id: Mapped[Id]
    prompt_id: Mapped[PromptKey]
    answers: Mapped[list[Any]]
    source: Mapped[str]


class Template(Base):
    """A version of a template file of the judge."""

    __tablename__ = "template"
    hash: Mapped[Id]
    name: Mapped[str]
    text: Mapped[str]
    first_seen_at: Mapped[datetime]


class KeptTemplate(Base):
    """A version that a person keeps for an experiment, although a rolled-back round of it used that version."""

    __tablename__ = "kept_template"
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"), primary_key=True)
    template_hash: Mapped[str] = mapped_column(ForeignKey("template.hash"), primary_key=True)
    kept_at: Mapped[datetime]


class Demonstration(Base):
    """The content of a ranked example, answers best first; several experiments may promote the same one.

    ``turns`` are the messages of a conversation; null for a single turn, and for examples of before 0.3.
    """

    __tablename__ = "demonstration"
    __table_args__ = (one_of("kind", "static", "dynamic"),)
    id: Mapped[Id]
    kind: Mapped[str]
    question: Mapped[str]
    answers: Mapped[list[Any]]
    turns: Mapped[list[Any] | None]


class DemonstrationPromotion(Base):
    """A round's proposal to show the judge this demonstration; it counts only if the round was accepted."""

    __tablename__ = "demonstration_promotion"
    round_id: Mapped[RoundPart]
    demonstration_id: Mapped[DemonstrationPart]
    position: Mapped[int]
    prompt_id: Mapped[str | None] = mapped_column(ForeignKey("prompt.id"))
    tau: Mapped[float]
    chance: Mapped[float]


class DemonstrationRetirement(Base):
    """A round's proposal to stop showing the judge this demonstration; it counts only if the round was accepted."""

    __tablename__ = "demonstration_retirement"
    round_id: Mapped[RoundPart]
    demonstration_id: Mapped[DemonstrationPart]
