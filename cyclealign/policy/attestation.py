"""Attestation: check by a probe that the engine serves exactly the weights that were trained.

A probe is a few rows of token ids with their log-probs at the end of training. The engine must reproduce them after
every swap of adapters and every wake-up.

Engines that swap adapters fail silently: stale weights after a sleep, prefix-cache blocks of another adapter under the
same name, an adapter that is not applied after a wake-up. Each of these shows in the log-probs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean

from cyclealign.errors import WrongWeights

PROBE_FILE = "probe.json"
MAX_ROWS = 4
MAX_ROW_TOKENS = 256
MAX_DEVIATION = 0.5  # of the projection from 1; beyond it, the other weights are nearer
MAX_STANDARD_ERROR = 0.25  # of the projection: the maximum deviation is at least two standard errors
Rows = tuple[tuple[int, ...], ...]
Logprobs = tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """Rows of token ids, and log P of every token but each row's first, in nats, row after row.

    Attributes:
        own: log-probs under the trained weights.
        parent: under the weights that training started from; the base model if there is no parent.
        base: under the base model.
    """

    rows: Rows
    own: Logprobs
    parent: Logprobs
    base: Logprobs

    def save(self, folder: Path) -> None:
        """Write the probe into the folder of the trained weights."""
        (folder / PROBE_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Probe | None":
        """Read the probe of trained weights; None if they were trained by a version that stored none."""
        path = folder / PROBE_FILE
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(map(tuple, values["rows"])), *(tuple(values[name]) for name in ("own", "parent", "base")))


@dataclass(frozen=True)
class Attestation:
    """Comparison of the engine's log-probs of a probe with the expected ones.

    Attributes:
        mean_difference: mean absolute difference, in nats per token.
        max_difference: largest absolute difference, in nats.
        projection: position of the engine's log-probs between the other weights (0) and the expected ones (1).
        standard_error: standard error of the projection.
    """

    mean_difference: float
    max_difference: float
    projection: float
    standard_error: float


def compare(measured: Sequence[float], expected: Sequence[float], other: Sequence[float]) -> Attestation:
    """Compare the engine's log-probs with the expected ones, relative to those of other weights; each of shape (T,).

    With r = measured - expected and d = expected - other, the projection is 1 + <r, d> / <d, d>. If r is noise that is
    independent of d, its standard error is rms(r) / |d|.
    """
    residuals = [value - target for value, target in zip(measured, expected, strict=True)]
    directions = [target - start for target, start in zip(expected, other, strict=True)]
    squared_norm = sum(step * step for step in directions)
    rms = sqrt(fmean(residual * residual for residual in residuals))
    dot = sum(residual * step for residual, step in zip(residuals, directions, strict=True))
    return Attestation(
        mean_difference=fmean(map(abs, residuals)),
        max_difference=max(map(abs, residuals)),
        projection=1 + dot / squared_norm if squared_norm else float("nan"),
        standard_error=rms / sqrt(squared_norm) if squared_norm else float("inf"),
    )


def attest(
    measured: Sequence[float], expected: Sequence[float], other: Sequence[float], tolerance: float, name: str
) -> Attestation:
    """Compare log-probs, and refuse weights that are not the expected ones.

    Args:
        other: log-probs of the weights that might be served by mistake.
        tolerance: maximum mean difference, in nats per token.
        name: of the expected weights, for the message.

    Raises:
        WrongWeights: the log-probs differ from training's, are nearer to the other weights' than to the expected
            ones, or cannot distinguish the two.
    """
    attestation = compare(measured, expected, other)
    if not attestation.mean_difference <= tolerance:  # "not <=" refuses NaN too
        raise WrongWeights(
            f"vLLM does not serve {name}: its log-probs of the probe differ from training's by a mean of "
            f"{attestation.mean_difference:.4f} nats per token (allowed: {tolerance:g}, engine.tolerance) and a "
            f"maximum of {attestation.max_difference:.4f}. Nothing was sampled from it. Run again to reload the "
            "weights; if that does not help, check the engine's log, and that engine.dtype is training's precision."
        )
    if not attestation.standard_error <= MAX_STANDARD_ERROR:
        raise WrongWeights(
            f"The probe cannot distinguish {name} from the previous weights: their log-probs differ too little for "
            f"the engine's precision (standard error {attestation.standard_error:.2f} of their distance). Training "
            'has hardly changed the policy: raise training.learning_rate, or use policy.kind = "transformers".'
        )
    if abs(attestation.projection - 1) > MAX_DEVIATION:
        raise WrongWeights(
            f"vLLM serves stale weights instead of {name}: its log-probs of the probe are "
            f"{attestation.projection:.0%} of the way from the previous weights to the trained ones. Nothing was "
            "sampled from it. Run again to reload the weights."
        )
    return attestation


def truncate_rows(rows: Sequence[Sequence[int]], context: int) -> Rows:
    """Return the first rows, truncated to a probe's length and, as vLLM generates one token, to ``context`` - 1."""
    return tuple(tuple(row[: min(MAX_ROW_TOKENS, context - 1)]) for row in rows[:MAX_ROWS])
