"""A round: what it reads, what it trains, what it measures."""

from dataclasses import dataclass
from typing import Literal

from cyclealign.records.texts import Demonstration, Prompt, Template

Purpose = Literal["train", "held_out"]


@dataclass(frozen=True)
class Adapter:
    """What a round trained, on disk: its folder, the hash of its weights, and the adapter that it was trained from.

    A LoRA adapter, or whole weights that stand in its place: see `cyclealign.policy.weights`.
    """

    id: str
    path: str
    content_hash: str
    parent_id: str | None


@dataclass(frozen=True)
class RoundPlan:
    """Everything that a round reads, fixed when it is opened: nothing it reads changes while it runs.

    ``settings`` is the experiment's configuration as JSON values; ``demonstrations`` is the pool that the judge's
    demonstrations are chosen from (static ones first).
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
class Round:
    """A round as the store holds it; ``parent`` is the adapter of the last accepted round (None: the base model)."""

    id: int
    experiment: str
    number: int
    plan: RoundPlan
    parent: Adapter | None
