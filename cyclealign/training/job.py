"""A training job as a value: ranked lists in, a LoRA adapter or full weights out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from cyclealign.config import TrainingSettings
from cyclealign.records import Preference


@dataclass(frozen=True)
class RankedAnswers:
    """What training learns from one prompt: token ids of the prompt and of its answers, best first, and a weight.

    ``pairs`` are (number of the better answer, number of the worse, share of the verdicts that say so, above 0.5);
    None: every pair, as the order has it.
    """

    prompt_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    weight: float
    pairs: tuple[tuple[int, int, float], ...] | None = None

    @property
    def teaches(self) -> bool:
        """Whether it has a weight and a decided pair."""
        return self.weight > 0 and bool(self.soft_pairs())

    def soft_pairs(self) -> tuple[tuple[int, int, float], ...]:
        """The pairs to learn from, each with its share."""
        if self.pairs is not None:
            return self.pairs
        return tuple((better, worse, 1.0) for better, worse in combinations(range(len(self.answers)), 2))


def decided_pairs(
    order: Sequence[str], preferences: Sequence[Preference], least_share: float, follow_order: bool = False
) -> tuple[tuple[int, int, float], ...] | None:
    """The preferences that count, by place in ``order``: near-even ones, below ``least_share``, are dropped.

    None where there are no preferences at all: a ranking from before they were kept.

    Args:
        follow_order: the direction of a pair is that of ``order``, and only its share is the judge's: for a target
            that is not the judge's own order.
    """
    if not preferences:
        return None
    place = {item: number for number, item in enumerate(order)}
    found = []
    for each in preferences:
        if each.share >= least_share and each.share > 0.5:
            pair = (place[each.better], place[each.worse])
            found.append((*(sorted(pair) if follow_order else pair), each.share))
    return tuple((better, worse, share) for better, worse, share in found)


@dataclass(frozen=True)
class TrainingJob:
    """Everything that training reads. ``parent`` is the folder of the adapter, or of the whole weights, to go on from.

    None: from the base model.
    """

    model: str
    revision: str | None
    parent: str | None
    settings: TrainingSettings
    lists: tuple[RankedAnswers, ...]
    seed: int
    trust_remote_code: bool = False  # the model's own code may run

    @property
    def whole(self) -> bool:
        """Whether all weights are trained, and no adapter."""
        return self.settings.method == "full"

    def save(self, path: Path) -> None:
        values = {**asdict(self), "settings": self.settings.model_dump()}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TrainingJob":
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = tuple(
            RankedAnswers(
                tuple(row["prompt_ids"]),
                tuple(map(tuple, row["answers"])),
                row["weight"],
                None if row["pairs"] is None else tuple(map(tuple, row["pairs"])),
            )
            for row in values.pop("lists")
        )
        return cls(**{**values, "settings": TrainingSettings(**values["settings"])}, lists=lists)
