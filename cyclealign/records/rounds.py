"""A round: its plan and its adapter."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cyclealign.records.texts import Demonstration, Prompt, Template

Purpose = Literal["train", "held_out"]


@dataclass(frozen=True)
class Adapter:
    """The weights that a round trained: their folder, the hash of its content, and the adapter that they started from.

    A LoRA adapter, or all weights of the model: see `cyclealign.policy.weights`. ``parent_id`` None: the base model.
    """

    id: str
    path: str
    content_hash: str
    parent_id: str | None


@dataclass(frozen=True)
class Holder:
    """The run that advances an experiment: its lease's owner, its name for people, and the time of its start."""

    owner: str
    run_name: str
    since: datetime


@dataclass(frozen=True)
class RoundPlan:
    """Everything that a round reads, fixed when it is opened, so that a resumed round works on the same values.

    Settings and material whose stage has stored nothing yet may be replaced meanwhile, which is logged.

    ``settings`` is the experiment's configuration as JSON values; ``demonstrations`` is the pool from which the judge's
    demonstrations are selected, static ones first.
    """

    experiment: str
    settings: dict[str, object]
    seed: int
    prompts: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    templates: tuple[Template, ...]
    demonstrations: tuple[Demonstration, ...]
    base_model: str


@dataclass(frozen=True)
class SettingChange:
    """A change of an open round: a setting by its dotted name, or material of the judge, with JSON values."""

    setting: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Round:
    """A round as the store holds it. ``number`` counts from 1; ``parent`` None: it starts from the base model.

    ``origin`` is the first name of an experiment that was renamed, and ``first_number`` the number of the first of the
    abandoned rounds in a row that this one repeats; None: there is no other.
    """

    id: int
    experiment: str
    number: int
    plan: RoundPlan
    parent: Adapter | None
    origin: str | None = None
    first_number: int | None = None

    @property
    def lineage(self) -> str:
        """Return the name of the experiment from which ids and seeds follow, whatever it is called now."""
        return self.origin or self.experiment

    @property
    def draw(self) -> int:
        """Return the number from which seeds follow: that of the round, or of the abandoned round that it repeats."""
        return self.first_number or self.number


def owner_in_words(owner: str) -> str:
    """Return the owner of a lease, ``machine/process id/start time/run``, in words; another form as it is."""
    parts = owner.rsplit("/", 3)
    return f"process {parts[1]} on {parts[0].rpartition('~')[0] or parts[0]}" if len(parts) == 4 else owner
