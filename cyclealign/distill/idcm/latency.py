"""Wall-clock time of the cascade and of scoring all windows: same pairs, same process, alternating calls."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from cyclealign.distill.idcm.config import Config, EvaluationSettings
from cyclealign.distill.idcm.predict import Cascade, esm_scores
from cyclealign.distill.idcm.windows import Windows
from cyclealign.errors import DistillError
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

WARM_UPS = 3
ALL = "all windows"


@dataclass(frozen=True)
class Timings:
    """Median milliseconds per (query, document) pair: all windows, ESM alone, and the cascade by k.

    Attributes:
        batch: pairs scored together.
        windows: mean number of windows per document, P.
    """

    batch: int
    windows: float
    repeats: int
    all_ms: float
    esm_ms: float
    cascade_ms: Mapping[int, float]

    def speedup(self, k: int) -> float:
        """Return how many times faster the cascade is than scoring all windows."""
        return self.all_ms / self.cascade_ms[k]

    def modelled_ms(self, k: int) -> float:
        """Return the cost model P t_esm + k t_etm, with t from the times of ESM alone and of all windows."""
        return self.esm_ms + k * self.all_ms / self.windows


def side_by_side(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each call; calls alternate, so other load on the machine affects all alike."""
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = _clock()
            call()
            seconds[name].append(_clock() - started)
    return {name: median(values) for name, values in seconds.items()}


def _clock() -> float:
    """Return seconds after all work of the GPU is done; its calls return earlier."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def time_pairs(
    cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], ks: Sequence[int], repeats: int
) -> Timings:
    """Time scoring all windows, ESM alone and the cascade on the same batch of pairs."""
    calls: dict[str, Callable[[], object]] = {
        ALL: partial(cascade.every_window, queries, documents),
        "esm": partial(_esm_alone, cascade, queries, documents),
        **{str(k): partial(cascade, queries, documents, k) for k in ks},
    }
    milliseconds = {name: 1e3 * seconds / len(queries) for name, seconds in side_by_side(calls, repeats).items()}
    windows = sum(len(document) for document in documents) / len(documents)
    cascade_ms = {k: milliseconds[str(k)] for k in ks}
    return Timings(len(queries), windows, repeats, milliseconds[ALL], milliseconds["esm"], cascade_ms)


def _esm_alone(cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
    with torch.inference_mode():
        return esm_scores(cascade.esm, queries, documents)[0]


def measures(timings: Sequence[Timings], selection: str) -> list[Metric]:
    """Return times and ratios, by k and by batch size; ``selection`` names the arm."""
    rows = []
    for timing in timings:
        at_once = f"{timing.batch} at once"
        rows.append(Metric(f"ms a pair, {at_once}", timing.all_ms, count=timing.repeats, arm=ALL))
        for k, milliseconds in timing.cascade_ms.items():
            arm = f"{selection}, k = {k}"
            rows.append(Metric(f"ms a pair, {at_once}", milliseconds, count=timing.repeats, arm=arm))
            rows.append(Metric(f"times faster, {at_once}", timing.speedup(k), count=timing.repeats, arm=arm))
            rows.append(Metric(f"times faster, {at_once}, cost model", timing.all_ms / timing.modelled_ms(k), arm=arm))
    return rows


def by_batch(
    cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], settings: EvaluationSettings
) -> list[Timings]:
    """Return times on long documents, for every batch size of the settings."""
    timings = []
    for size in settings.batches:
        numbers = long_documents(documents, settings.min_windows, size)
        batch = [queries[n] for n in numbers], [documents[n] for n in numbers]
        timings.append(time_pairs(cascade, *batch, settings.ks, settings.repeats))
    return timings


def long_documents(documents: Sequence[Windows], min_windows: int, count: int) -> list[int]:
    """Return indices of ``count`` documents with at least ``min_windows`` windows, repeated if there are fewer.

    Raises:
        DistillError: there is none.
    """
    long = [number for number, document in enumerate(documents) if len(document) >= min_windows]
    if not long:
        longest = max(map(len, documents))
        raise DistillError(
            f"No test document has {min_windows} windows; the longest has {longest}. Lower evaluation.min_windows."
        )
    return [long[n % len(long)] for n in range(count)]


def lengths_within(documents: Sequence[Windows], lengths: Sequence[int]) -> list[int]:
    """Return the lengths up to that of the longest document, shortest first.

    Raises:
        DistillError: all lengths are above it.
    """
    longest = max(map(len, documents))
    within = sorted(length for length in lengths if length <= longest)
    if not within:
        raise DistillError(
            f"No test document has {min(lengths)} windows; the longest has {longest}. Lower evaluation.lengths."
        )
    return within


def by_length(cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], config: Config) -> list[Curve]:
    """Return milliseconds of one pair over the number of windows: the longest document, truncated to each length."""
    longest = max(range(len(documents)), key=lambda number: len(documents[number]))
    query, document, k = queries[longest], documents[longest], config.esm.k
    lengths = lengths_within(documents, config.evaluation.lengths)
    truncated = [Windows(document.ids_PT[:length], document.mask_PT[:length]) for length in lengths]
    timings = [time_pairs(cascade, [query], [part], (k,), config.evaluation.repeats) for part in truncated]
    arms = {
        ALL: [timing.all_ms for timing in timings],
        f"cascade, k = {k}": [timing.cascade_ms[k] for timing in timings],
    }
    x = tuple(float(length) for length in lengths)
    return [Curve(arm, "latency of a pair, ms", "windows", x, tuple(y)) for arm, y in arms.items()]


def growth(curves: Sequence[Curve], selection: str) -> list[Metric]:
    """Return the ratio of latencies of the longest and the shortest document of each curve; 1 is a flat latency."""
    rows = []
    for curve in curves:
        arm = curve.arm if curve.arm == ALL else curve.arm.replace("cascade", selection)
        name = f"times longer for {curve.x[-1]:.0f} windows than for {curve.x[0]:.0f}"
        rows.append(Metric(name, curve.y[-1] / curve.y[0], arm=arm))
    return rows
