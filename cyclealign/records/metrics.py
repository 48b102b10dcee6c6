"""A measured number."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A measured number of a round, or of one arm of a distillation run, with its 95 % interval if it has one.

    ``count`` is the number of items that it rests on: lists, prompts, queries or seeds. ``unit`` is empty for a plain
    number or a share. ``arm`` (teacher, student of some loss ...) is empty for a round.

    Raises:
        ValueError: a part is not a finite number: leave out a metric that was not measured.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    unit: str = ""
    arm: str = ""

    def __post_init__(self) -> None:
        for part in (self.value, self.low, self.high):
            if part is not None and not math.isfinite(part):
                raise ValueError(f"the metric '{self.name}' is not a finite number: {self}")
