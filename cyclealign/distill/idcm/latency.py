"""Wall-clock time of the cascade against all windows: the same pairs in the same process, sides in turns."""

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
class Timed:
    """Median milliseconds a (query, document) pair: all windows, ESM alone, and the cascade by k."""

    pairs_at_once: int
    windows: float
    repeats: int
    all_ms: float
    esm_ms: float
    cascade_ms: Mapping[int, float]

    def speedup(self, k: int) -> float:
        """How many times faster the cascade is than all windows."""
        return self.all_ms / self.cascade_ms[k]

    def modelled_ms(self, k: int) -> float:
        """The cost model T = P t_esm + k t_etm, with t from the measured times of ESM alone and of all windows."""
        return self.esm_ms + k * self.all_ms / self.windows


def side_by_side(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that what disturbs the machine disturbs all alike."""
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = _clock()
            call()
            seconds[name].append(_clock() - started)
    return {name: median(each) for name, each in seconds.items()}


def _clock() -> float:
    """Seconds, once an accelerator has done what it was given: its calls return before their work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(
    cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], ks: Sequence[int], repeats: int
) -> Timed:
    """Both sides on the same pairs, which go in together."""
    calls: dict[str, Callable[[], object]] = {
        ALL: partial(cascade.every_window, queries, documents),
        "esm": partial(_esm_alone, cascade, queries, documents),
        **{str(k): partial(cascade, queries, documents, k) for k in ks},
    }
    found = {name: 1e3 * seconds / len(queries) for name, seconds in side_by_side(calls, repeats).items()}
    windows = sum(len(each) for each in documents) / len(documents)
    return Timed(len(queries), windows, repeats, found[ALL], found["esm"], {k: found[str(k)] for k in ks})


def _esm_alone(cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
    with torch.inference_mode():
        return esm_scores(cascade.esm, queries, documents)[0]


def measures(found: Sequence[Timed], selection: str) -> list[Metric]:
    """Times and ratios, by k and by how many pairs go in together; ``selection`` names the arm."""
    rows = []
    for each in found:
        at_once = f"{each.pairs_at_once} at once"
        rows.append(Metric(f"ms a pair, {at_once}", each.all_ms, count=each.repeats, arm=ALL))
        for k, milliseconds in each.cascade_ms.items():
            arm = f"{selection}, k = {k}"
            rows.append(Metric(f"ms a pair, {at_once}", milliseconds, count=each.repeats, arm=arm))
            rows.append(Metric(f"times faster, {at_once}", each.speedup(k), count=each.repeats, arm=arm))
            rows.append(Metric(f"times faster, {at_once}, cost model", each.all_ms / each.modelled_ms(k), arm=arm))
    return rows


def of_batches(
    cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], settings: EvaluationSettings
) -> list[Timed]:
    """Times on long documents, for every number of pairs that go in together."""
    found = []
    for count in settings.batches:
        numbers = long_pairs(documents, settings.min_windows, count)
        some = [queries[n] for n in numbers], [documents[n] for n in numbers]
        found.append(timed(cascade, *some, settings.ks, settings.repeats))
    return found


def long_pairs(documents: Sequence[Windows], least: int, count: int) -> list[int]:
    """Numbers of ``count`` documents of at least ``least`` windows, over again where there are fewer.

    Raises:
        DistillError: there is none.
    """
    long = [number for number, each in enumerate(documents) if len(each) >= least]
    if not long:
        longest = max(map(len, documents))
        raise DistillError(
            f"No test document has {least} windows, the longest has {longest}. Lower evaluation.min_windows."
        )
    return [long[n % len(long)] for n in range(count)]


def lengths_within(documents: Sequence[Windows], lengths: Sequence[int]) -> list[int]:
    """The lengths that the longest document can be cut to, shortest first.

    Raises:
        DistillError: there is none.
    """
    longest = max(map(len, documents))
    within = sorted(length for length in lengths if length <= longest)
    if not within:
        raise DistillError(
            f"No test document has {min(lengths)} windows, the longest has {longest}. Lower evaluation.lengths."
        )
    return within


def by_length(cascade: Cascade, queries: Sequence[Tensor], documents: Sequence[Windows], config: Config) -> list[Curve]:
    """Milliseconds of one pair by its document's length in windows: the longest document, cut shorter and shorter."""
    longest = max(range(len(documents)), key=lambda number: len(documents[number]))
    query, document, k = queries[longest], documents[longest], config.esm.k
    lengths = lengths_within(documents, config.evaluation.lengths)
    cut = [Windows(document.ids_PT[:length], document.mask_PT[:length]) for length in lengths]
    found = [timed(cascade, [query], [each], (k,), config.evaluation.repeats) for each in cut]
    sides = {ALL: [each.all_ms for each in found], f"cascade, k = {k}": [each.cascade_ms[k] for each in found]}
    x = tuple(float(length) for length in lengths)
    return [Curve(arm, "latency of a pair, ms", "windows", x, tuple(y)) for arm, y in sides.items()]


def growth(curves: Sequence[Curve], selection: str) -> list[Metric]:
    """How many times longer the longest document of the curves takes than the shortest; 1 is a flat latency."""
    rows = []
    for each in curves:
        arm = each.arm if each.arm == ALL else each.arm.replace("cascade", selection)
        name = f"times longer for {each.x[-1]:.0f} windows than for {each.x[0]:.0f}"
        rows.append(Metric(name, each.y[-1] / each.y[0], arm=arm))
    return rows
