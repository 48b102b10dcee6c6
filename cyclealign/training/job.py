"""A training job as a value: ranked lists in, a LoRA adapter or full weights out."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from cyclealign.config import TrainingSettings
from cyclealign.records import Preference, TrainingStep

# Position of the better answer, position of the worse one, share of the verdicts that agree (above 0.5).
SoftPair = tuple[int, int, float]

OnStep = Callable[[TrainingStep], None]

# Settings that may change before a training that was cut off goes on from its checkpoint.
NOT_OF_THE_OPTIMISATION = (
    "process",
    "tokens_at_once",
    "shared_prompt",
    "gradient_checkpointing",
    "report_to",
    "save_every",
)


@dataclass(frozen=True)
class RankedAnswers:
    """The training signal of one prompt: token ids of the prompt and of its answers, best first, and a weight.

    ``pairs``: the decided pairs. None: all pairs, in list order, each with the share 1. ``thought_lengths``: number of
    the first tokens of each answer that are a thought: they condition the answer and are not learnt. None: no thoughts.
    ``parent_logprobs``: sum of the parent's log-probs over each answer's learnt tokens, in nats. None: not known.
    """

    prompt_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    weight: float
    pairs: tuple[SoftPair, ...] | None = None
    thought_lengths: tuple[int, ...] | None = None
    parent_logprobs: tuple[float, ...] | None = None

    @property
    def unlearnt(self) -> tuple[int, ...]:
        """Return the number of tokens before the learnt ones, for each answer."""
        return self.thought_lengths or (0,) * len(self.answers)

    @property
    def has_signal(self) -> bool:
        """Return whether the list contributes to the loss: its weight is positive and at least one pair is decided."""
        return self.weight > 0 and bool(self.soft_pairs())

    def soft_pairs(self) -> tuple[SoftPair, ...]:
        """Return the pairs to learn, each with its share of the verdicts."""
        if self.pairs is not None:
            return self.pairs
        return tuple((better, worse, 1.0) for better, worse in combinations(range(len(self.answers)), 2))


def ignore_step(step: TrainingStep) -> None:
    """Do nothing with the figures of a step."""


def decided_pairs(
    order: Sequence[str], preferences: Sequence[Preference], min_share: float, follow_order: bool = False
) -> tuple[SoftPair, ...] | None:
    """Return the preferences with a share of at least ``min_share`` and above 0.5, by position in ``order``.

    Return None without any preferences: the ranking was stored before preferences were kept.

    Args:
        follow_order: take the direction of each pair from ``order``, and only its share from the judge; for a target
            other than the judge's ranking.
    """
    if not preferences:
        return None
    position = {item: number for number, item in enumerate(order)}
    pairs: list[SoftPair] = []
    for preference in preferences:
        if preference.share >= min_share and preference.share > 0.5:
            better, worse = position[preference.better], position[preference.worse]
            if follow_order:
                better, worse = min(better, worse), max(better, worse)
            pairs.append((better, worse, preference.share))
    return tuple(pairs)


@dataclass(frozen=True)
class TrainingJob:
    """All inputs of a training run.

    Attributes:
        model: folder or Hugging Face id of the base model.
        parent: folder of the adapter or full weights to continue from. None: the base model.
        trust_remote_code: Python code that comes with the model may run.
    """

    model: str
    revision: str | None
    parent: str | None
    settings: TrainingSettings
    lists: tuple[RankedAnswers, ...]
    seed: int
    trust_remote_code: bool = False

    @property
    def full_weights(self) -> bool:
        """Return whether all weights are trained instead of an adapter."""
        return self.settings.method == "full"

    @property
    def lists_with_signal(self) -> list[RankedAnswers]:
        """The lists that contribute to the loss."""
        return [ranked for ranked in self.lists if ranked.has_signal]

    @property
    def optimisation_hash(self) -> str:
        """Return a hash of everything that bears on the trained weights, beyond rounding: 32 hexadecimal digits."""
        settings = self.settings.model_dump(mode="json", exclude=set(NOT_OF_THE_OPTIMISATION))
        values = json.dumps({**asdict(self), "settings": settings}, sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write the job as JSON."""
        values = {**asdict(self), "settings": self.settings.model_dump()}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TrainingJob":
        """Read a job that `save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = tuple(
            RankedAnswers(
                tuple(row["prompt_ids"]),
                tuple(map(tuple, row["answers"])),
                row["weight"],
                None if row["pairs"] is None else tuple(map(tuple, row["pairs"])),
                tuple(row["thought_lengths"]) if row.get("thought_lengths") else None,
                tuple(row["parent_logprobs"]) if row.get("parent_logprobs") else None,
            )
            for row in values.pop("lists")
        )
        return cls(**{**values, "settings": TrainingSettings(**values["settings"])}, lists=lists)
