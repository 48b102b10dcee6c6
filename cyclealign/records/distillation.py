"""What a distillation job finds: measures of its arms, curves, and the run that they belong to."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A number about one arm (teacher, student of some loss ...); ``low`` and ``high`` are its 95 % bounds.

    ``items`` is the count that it rests on: test items, queries or seeds, as ``name`` suggests.

    Raises:
        ValueError: a part is not a finite number: leave out what was not measured.
    """

    arm: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    items: int | None = None

    def __post_init__(self) -> None:
        for part in (self.value, self.low, self.high):
            if part is not None and not math.isfinite(part):
                raise ValueError(f"the measure '{self.name}' of '{self.arm}' is not a finite number: {part}")


@dataclass(frozen=True)
class Curve:
    """A line of a plot: ``y`` over ``x`` for one arm. Curves of one ``name`` share a panel."""

    arm: str
    name: str
    x_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class DistillationRun:
    """A run as the store holds it; the hashes say what made it, so that the same work is found again.

    ``repeat`` counts the runs of the same hashes before it: more than 0 where it was asked to train again.
    """

    id: int
    job: str
    config_hash: str
    code_hash: str
    finished: bool
    student_path: str | None = None
    report_path: str | None = None
    repeat: int = 0
