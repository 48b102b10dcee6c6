"""How well embeddings find what is relevant: nDCG@10 of every arm, cut short and quantised, with 95 % intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.leaf.config import EvaluationSettings
from cyclealign.distill.leaf.rotations import Vectors, is_unit, largest, random_rotation, read_back, rotated, unit
from cyclealign.evaluation.intervals import bootstrap_mean, paired_difference
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

CUT = 10
DRAWS = 2_000

Relevant = Sequence[Mapping[int, int]]
PerQuery = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Arm:
    """Vectors of queries (Q, D) and documents (N, D) that are compared by their dot product."""

    name: str
    queries_QD: Vectors  # noqa: N815
    documents_ND: Vectors  # noqa: N815

    @property
    def dims(self) -> int:
        return int(self.documents_ND.shape[1])

    def truncated(self, dims: int) -> "Arm":
        """The first dimensions only, at unit length again where the vectors had it."""
        queries_QD, documents_ND = self.queries_QD[:, :dims], self.documents_ND[:, :dims]
        if is_unit(self.documents_ND):
            queries_QD, documents_ND = unit(queries_QD), unit(documents_ND)
        return Arm(cut_name(self.name, dims), queries_QD, documents_ND)

    def stored_as(self, precision: str) -> "Arm":
        """As read back from that precision; int8's one scale is that of the documents, for queries too."""
        scale = largest(self.documents_ND)
        pair = [read_back(vectors, precision, scale) for vectors in (self.queries_QD, self.documents_ND)]
        return Arm(self.name, *pair)


def cut_name(arm: str, dims: int) -> str:
    """The name of an arm that is cut to ``dims`` dimensions."""
    return f"{arm} {dims}d"


def ndcg(arm: Arm, relevant: Relevant, cut: int = CUT) -> PerQuery:
    """nDCG at ``cut`` of each query, by exact search (faiss), as trec_eval defines it (ir-measures).

    Args:
        relevant: for each query the indices of its relevant documents, at least one, and their grades.
    """
    import faiss
    from ir_measures import iter_calc, nDCG

    index = faiss.IndexFlatIP(arm.dims)
    index.add(np.ascontiguousarray(arm.documents_ND))
    scores_QK, found_QK = index.search(np.ascontiguousarray(arm.queries_QD), min(cut, len(arm.documents_ND)))
    run = {
        str(query): {str(document): float(score) for document, score in zip(documents, scores, strict=True)}
        for query, (documents, scores) in enumerate(zip(found_QK, scores_QK, strict=True))
    }
    qrels = {
        str(query): {str(document): grade for document, grade in wanted.items()}
        for query, wanted in enumerate(relevant)
    }
    values = {each.query_id: float(each.value) for each in iter_calc([nDCG @ cut], qrels, run)}
    return np.asarray([values[str(query)] for query in range(len(relevant))])


def misaligned(arm: Arm, seed: int) -> Arm:
    """The control of compatibility: the same queries, all distances among them kept, in a space turned at random."""
    return Arm("misaligned", rotated(arm.queries_QD, random_rotation(arm.dims, seed)), arm.documents_ND)


def cosines(student_ND: Vectors, teacher_ND: Vectors) -> PerQuery:
    """Cosine of each pair of rows."""
    return np.asarray((unit(student_ND) * unit(teacher_ND)).sum(1), dtype=np.float64)


@dataclass(frozen=True)
class Found:
    """nDCG of each query, by the name of the arm (cut ones too) and the precision."""

    values: Mapping[tuple[str, str], PerQuery]
    dims: tuple[int, ...]

    def of(self, arm: str, dims: int | None = None, precision: str = "float32") -> PerQuery:
        return self.values[arm if dims is None else cut_name(arm, dims), precision]

    def __contains__(self, arm: str) -> bool:
        return (arm, "float32") in self.values


def search(arms: Sequence[Arm], controls: Sequence[Arm], relevant: Relevant, settings: EvaluationSettings) -> Found:
    """Every arm at every size and precision, and the controls in full; sizes that the teacher has not are left out."""
    dims = tuple(each for each in settings.dims if each < arms[0].dims)
    sizes = [each for arm in arms for each in (arm, *[arm.truncated(size) for size in dims])]
    values: dict[tuple[str, str], PerQuery] = {
        (arm.name, precision): ndcg(arm.stored_as(precision), relevant)
        for arm in sizes
        for precision in settings.precisions
    }
    values.update({(arm.name, "float32"): ndcg(arm, relevant) for arm in controls})
    return Found(values, dims)


def retrieval_measures(found: Found) -> list[Metric]:
    """What was found, and for floats: each arm's share of the teacher at the same size, and of itself in full."""
    measures = []
    for (arm, precision), values in found.values.items():
        end = "" if precision == "float32" else f"_{precision}"
        measures.append(measured(arm, f"ndcg_at_10{end}", bootstrap_mean(values), len(values)))
    for arm in {name: None for name, _ in found.values}:
        for whole, name in ((of_teacher(arm, found), "share_of_teacher"), (of_itself(arm, found), "share_of_full")):
            if whole is not None and whole.mean() > 0:
                values = found.of(arm)
                measures.append(measured(arm, name, share(values, whole), len(values)))
    return measures


def of_teacher(arm: str, found: Found) -> PerQuery | None:
    """The teacher that an arm is measured by: at the same size, and rotated where the arm learnt from that."""
    base, _, size = arm.partition(" ")
    teacher = "rotated_teacher" if base.startswith("rotated") else "teacher"
    return None if base == teacher else found.of(f"{teacher} {size}".strip())


def of_itself(arm: str, found: Found) -> PerQuery | None:
    """The same arm in full; None for one that is."""
    base, _, size = arm.partition(" ")
    return found.of(base) if size else None


def comparisons(found: Found) -> list[Metric]:
    """Student queries on teacher documents, against the alternatives, query by query.

    ``gain_over_*``: difference of nDCG. ``inherited``: at a cut, how much more of its own full quality the arm keeps
    than the student of the rotated teacher does.
    """
    ours = found.of("asymmetric")
    measures = [
        measured("asymmetric", f"gain_over_{other}", paired_difference(ours, found.of(other)), len(ours))
        for other in ("symmetric", "misaligned", "untrained")
        if other in found
    ]
    if "rotated_asymmetric" not in found or not ours.mean() or not found.of("rotated_asymmetric").mean():
        return measures
    for dims in found.dims:
        value = inherited(found, dims)
        measures.append(measured(cut_name("asymmetric", dims), "inherited", value, len(ours)))
    return measures


def closeness(arms: Sequence[Arm]) -> list[Metric]:
    """Mean cosine of the student's vectors to the teacher's, on texts that it was not trained on."""
    by_name = {arm.name: arm for arm in arms}
    teacher, ours = by_name["teacher"], by_name["symmetric"]
    queries = cosines(ours.queries_QD, teacher.queries_QD)
    documents = cosines(ours.documents_ND, teacher.documents_ND)
    return [
        measured("asymmetric", "cosine_of_queries", bootstrap_mean(queries), len(queries)),
        measured("symmetric", "cosine_of_queries", bootstrap_mean(queries), len(queries)),
        measured("symmetric", "cosine_of_documents", bootstrap_mean(documents), len(documents)),
    ]


def inherited(found: Found, dims: int) -> Triple:
    """share_of_full of the arm at a cut, minus that of the rotated control."""
    cut, whole = found.of("asymmetric", dims), found.of("asymmetric")
    control_cut, control = found.of("rotated_asymmetric", dims), found.of("rotated_asymmetric")

    def gain(drawn: NDArray[np.intp]) -> float:
        return ratio(cut[drawn], whole[drawn]) - ratio(control_cut[drawn], control[drawn])

    return of_draws(gain, len(whole))


def share(part: PerQuery, whole: PerQuery) -> Triple:
    """mean(part) / mean(whole) with its 95 % bootstrap interval, the same queries drawn for both."""
    return of_draws(lambda drawn: ratio(part[drawn], whole[drawn]), len(part))


def ratio(part: PerQuery, whole: PerQuery) -> float:
    """mean(part) / mean(whole); NaN where nothing was found at all, which the interval leaves out."""
    return float(part.mean() / whole.mean()) if whole.mean() > 0 else float("nan")


def of_draws(value: Callable[[NDArray[np.intp]], float], items: int, seed: int = 0) -> Triple:
    """A value of all items, and the 95 % percentile interval of it over resampled items."""
    draw = np.random.default_rng(seed)
    values = [value(draw.integers(0, items, items)) for _ in range(DRAWS)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return value(np.arange(items)), float(low), float(high)


def measured(arm: str, name: str, value: Triple, items: int) -> Metric:
    """A measure of (value, low, high)."""
    return Metric(name, *value, count=items, arm=arm)


def curves(found: Found, full: int) -> list[Curve]:
    """nDCG@10 over the number of dimensions, a panel a precision."""
    sizes = sorted({*found.dims, full})
    names = {name.partition(" ")[0]: None for name, _ in found.values if " " in name}
    return [
        Curve(
            name,
            f"nDCG@10, {precision}",
            "dimensions",
            tuple(float(size) for size in sizes),
            tuple(float(found.of(name, None if size == full else size, precision).mean()) for size in sizes),
        )
        for precision in dict.fromkeys(precision for _, precision in found.values)
        for name in names
    ]
