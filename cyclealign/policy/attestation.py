"""Are the weights that answer those that were trained? A probe tells: fixed token ids, and their log-probs when
training ended, which the engine must give again after every swap and wake.

Engines that swap adapters fail silently: stale weights after a sleep, prefix-cache blocks of an adapter of the same
name, an adapter that is not applied after a wake. Each of them shows in the log-probs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean

from cyclealign.errors import WrongWeights

PROBE_FILE = "probe.json"
ROWS = 4
LONGEST = 256
Rows = tuple[tuple[int, ...], ...]
Logprobs = tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """Token ids, a tuple a row, and log P of every token but each row's first, in nats, row after row.

    ``own`` are those of the adapter, ``parent`` those of the one it was trained from (where there is none: of the base
    model), ``base`` those of the base model.
    """

    rows: Rows
    own: Logprobs
    parent: Logprobs
    base: Logprobs

    def save(self, folder: Path) -> None:
        """Write it beside the adapter."""
        (folder / PROBE_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Probe | None":
        """The probe beside an adapter; None where it was trained by a version that left none."""
        path = folder / PROBE_FILE
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(map(tuple, values["rows"])), *(tuple(values[name]) for name in ("own", "parent", "base")))


@dataclass(frozen=True)
class Attestation:
    """How the engine's log-probs of a probe stand to the expected ones.

    ``mean_difference`` and ``largest_difference`` are absolute, in nats per token. ``share`` is how much of the way
    from the other weights to the expected ones the engine's log-probs have gone: 1 where they are the expected ones, 0
    where they are the others. ``doubt`` is the standard error of that share.
    """

    mean_difference: float
    largest_difference: float
    share: float
    doubt: float


def compare(measured: Sequence[float], expected: Sequence[float], other: Sequence[float]) -> Attestation:
    """Measure the engine's log-probs (T) against the expected ones (T), as opposed to those of other weights (T).

    With r = measured - expected and d = expected - other, the share is 1 + <r, d> / <d, d>; were r noise of the same
    size that knows nothing of d, its standard error would be rms(r) / |d|.
    """
    residual = [got - want for got, want in zip(measured, expected, strict=True)]
    moved = [want - was for want, was in zip(expected, other, strict=True)]
    squared = sum(step * step for step in moved)
    rms = sqrt(fmean(each * each for each in residual))
    along = sum(each * step for each, step in zip(residual, moved, strict=True))
    return Attestation(
        mean_difference=fmean(map(abs, residual)),
        largest_difference=max(map(abs, residual)),
        share=1 + along / squared if squared else float("nan"),
        doubt=rms / sqrt(squared) if squared else float("inf"),
    )


def attest(
    measured: Sequence[float], expected: Sequence[float], other: Sequence[float], tolerance: float, name: str
) -> Attestation:
    """Compare, and refuse weights that are not the expected ones.

    Raises:
        WrongWeights: the log-probs are not those of training, or are nearer to the other weights', or the two are so
            near to each other that nobody can tell.
    """
    found = compare(measured, expected, other)
    if not found.mean_difference <= tolerance:  # "not <=" refuses NaN too
        raise WrongWeights(
            f"vLLM does not answer with {name}: its log-probs of the probe differ from those of training by "
            f"{found.mean_difference:.4f} nats per token in the mean (allowed: {tolerance:g}, engine.tolerance) and by "
            f"{found.largest_difference:.4f} at most. Nothing was drawn from it. Run again to load it anew; if that "
            "does not help, look at the engine's log, and whether engine.dtype is the precision of training."
        )
    if not found.doubt <= 0.25:
        raise WrongWeights(
            f"It cannot be told whether vLLM answers with {name} or with the weights from before: on the probe the two "
            f"differ too little for the engine's precision (uncertainty {found.doubt:.2f} of their distance). Training "
            'has hardly changed the policy: raise training.learning_rate, or use policy.kind = "transformers".'
        )
    if abs(found.share - 1) > 0.5:
        raise WrongWeights(
            f"vLLM answers with stale weights instead of {name}: its log-probs of the probe have gone "
            f"{found.share:.0%} of the way from the weights before to those of training. Nothing was drawn from it. "
            "Run again to load it anew."
        )
    return found


def cut_rows(rows: Sequence[Sequence[int]], context: int) -> Rows:
    """The first rows, cut to the length of a probe; one token of the context stays free, since vLLM generates one."""
    return tuple(tuple(row[: min(LONGEST, context - 1)]) for row in rows[:ROWS])
