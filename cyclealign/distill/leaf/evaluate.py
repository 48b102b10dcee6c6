"""Retrieval quality: nDCG@10 of every arm, also truncated and quantised, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.leaf.config import EvaluationSettings
from cyclealign.distill.leaf.rotations import Vectors, is_unit, largest, quantised, random_rotation, rotated, unit
from cyclealign.evaluation.intervals import bootstrap_mean, bootstrap_statistic, paired_difference
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

CUTOFF = 10

Relevant = Sequence[Mapping[int, int]]
PerQuery = NDArray[np.float64]
Interval = tuple[float, float, float]  # value, lower and upper bound


@dataclass(frozen=True)
class Arm:
    """Vectors of queries (Q, D) and documents (N, D), compared by their dot product."""

    name: str
    queries_QD: Vectors  # noqa: N815
    documents_ND: Vectors  # noqa: N815

    @property
    def dims(self) -> int:
        return int(self.documents_ND.shape[1])

    def truncated(self, dims: int) -> "Arm":
        """Return the arm with the first dimensions only, normalised again if it was."""
        queries_QD, documents_ND = self.queries_QD[:, :dims], self.documents_ND[:, :dims]
        if is_unit(self.documents_ND):
            queries_QD, documents_ND = unit(queries_QD), unit(documents_ND)
        return Arm(truncated_name(self.name, dims), queries_QD, documents_ND)

    def quantised(self, precision: str) -> "Arm":
        """Return the arm after quantisation; the documents set the one scale of int8, for queries too."""
        scale = largest(self.documents_ND)
        vectors = [quantised(vectors_ND, precision, scale) for vectors_ND in (self.queries_QD, self.documents_ND)]
        return Arm(self.name, *vectors)


def truncated_name(arm: str, dims: int) -> str:
    """Return the name of an arm truncated to ``dims`` dimensions."""
    return f"{arm} {dims}d"


def ndcg(arm: Arm, relevant: Relevant, cutoff: int = CUTOFF) -> PerQuery:
    """Return nDCG at ``cutoff`` per query, shape (Q,): exact search (faiss), trec_eval's definition (ir-measures).

    Args:
        relevant: for each query, index of a relevant document -> grade.
    """
    import faiss
    from ir_measures import iter_calc, nDCG

    index = faiss.IndexFlatIP(arm.dims)
    index.add(np.ascontiguousarray(arm.documents_ND))
    scores_QK, documents_QK = index.search(np.ascontiguousarray(arm.queries_QD), min(cutoff, len(arm.documents_ND)))
    run = {
        str(query): {str(document): float(score) for document, score in zip(documents, scores, strict=True)}
        for query, (documents, scores) in enumerate(zip(documents_QK, scores_QK, strict=True))
    }
    qrels = {
        str(query): {str(document): grade for document, grade in grades.items()}
        for query, grades in enumerate(relevant)
    }
    values = {metric.query_id: float(metric.value) for metric in iter_calc([nDCG @ cutoff], qrels, run)}
    return np.asarray([values[str(query)] for query in range(len(relevant))])


def misaligned(arm: Arm, seed: int) -> Arm:
    """Return the control of alignment: the same queries, randomly rotated out of the documents' space."""
    return Arm("misaligned", rotated(arm.queries_QD, random_rotation(arm.dims, seed)), arm.documents_ND)


def cosines(student_ND: Vectors, teacher_ND: Vectors) -> PerQuery:
    """Return the cosine of each pair of rows, shape (N,)."""
    return np.asarray((unit(student_ND) * unit(teacher_ND)).sum(1), dtype=np.float64)


@dataclass(frozen=True)
class SearchResults:
    """nDCG per query, by arm name (truncated arms too) and precision."""

    values: Mapping[tuple[str, str], PerQuery]
    dims: tuple[int, ...]

    def of(self, arm: str, dims: int | None = None, precision: str = "float32") -> PerQuery:
        return self.values[arm if dims is None else truncated_name(arm, dims), precision]

    def __contains__(self, arm: str) -> bool:
        return (arm, "float32") in self.values


def search(
    arms: Sequence[Arm], controls: Sequence[Arm], relevant: Relevant, settings: EvaluationSettings
) -> SearchResults:
    """Evaluate every arm at every size and precision, and the controls at full size in float32.

    Sizes of the settings that are not below the teacher's are skipped.
    """
    dims = tuple(size for size in settings.dims if size < arms[0].dims)
    variants = [variant for arm in arms for variant in (arm, *[arm.truncated(size) for size in dims])]
    values: dict[tuple[str, str], PerQuery] = {
        (arm.name, precision): ndcg(arm.quantised(precision), relevant)
        for arm in variants
        for precision in settings.precisions
    }
    values.update({(arm.name, "float32"): ndcg(arm, relevant) for arm in controls})
    return SearchResults(values, dims)


def retrieval_measures(results: SearchResults) -> list[Metric]:
    """Return nDCG of all arms and, in float32, each arm's share of the teacher's nDCG and of its own at full size."""
    measures = []
    for (arm, precision), values in results.values.items():
        suffix = "" if precision == "float32" else f"_{precision}"
        measures.append(interval_measure(arm, f"ndcg_at_10{suffix}", bootstrap_mean(values), len(values)))
    for arm in dict.fromkeys(name for name, _ in results.values):
        references = ((of_teacher(arm, results), "share_of_teacher"), (of_itself(arm, results), "share_of_full"))
        for reference, name in references:
            if reference is not None and reference.mean() > 0:
                values = results.of(arm)
                measures.append(interval_measure(arm, name, share(values, reference), len(values)))
    return measures


def of_teacher(arm: str, results: SearchResults) -> PerQuery | None:
    """Return the values of the arm's teacher at the same size; None for a teacher.

    The teacher of arms trained on rotated vectors is the rotated teacher.
    """
    model, _, size = arm.partition(" ")
    teacher = "rotated_teacher" if model.startswith("rotated") else "teacher"
    return None if model == teacher else results.of(f"{teacher} {size}".strip())


def of_itself(arm: str, results: SearchResults) -> PerQuery | None:
    """Return the values of a truncated arm at full size; None for an arm of full size."""
    model, _, size = arm.partition(" ")
    return results.of(model) if size else None


def comparisons(results: SearchResults) -> list[Metric]:
    """Compare student queries on teacher documents with the alternatives, query by query.

    ``gain_over_*``: difference of nDCG. ``inherited``: how much more of its full-size quality the arm keeps at a
    truncated size than the student of the rotated teacher does.
    """
    asymmetric = results.of("asymmetric")
    measures = [
        interval_measure(
            "asymmetric", f"gain_over_{other}", paired_difference(asymmetric, results.of(other)), len(asymmetric)
        )
        for other in ("symmetric", "misaligned", "untrained")
        if other in results
    ]
    # Shares of a full-size nDCG of 0 are undefined.
    if "rotated_asymmetric" in results and asymmetric.mean() and results.of("rotated_asymmetric").mean():
        measures += [
            interval_measure(truncated_name("asymmetric", dims), "inherited", inherited(results, dims), len(asymmetric))
            for dims in results.dims
        ]
    return measures


def closeness(arms: Sequence[Arm]) -> list[Metric]:
    """Return the mean cosine between the student's and the teacher's vectors of the task's texts."""
    by_name = {arm.name: arm for arm in arms}
    teacher, student = by_name["teacher"], by_name["symmetric"]
    queries = cosines(student.queries_QD, teacher.queries_QD)
    documents = cosines(student.documents_ND, teacher.documents_ND)
    return [
        interval_measure("asymmetric", "cosine_of_queries", bootstrap_mean(queries), len(queries)),
        interval_measure("symmetric", "cosine_of_queries", bootstrap_mean(queries), len(queries)),
        interval_measure("symmetric", "cosine_of_documents", bootstrap_mean(documents), len(documents)),
    ]


def inherited(results: SearchResults, dims: int) -> Interval:
    """Return share_of_full of the arm at ``dims`` dimensions, minus that of the rotated control."""
    part, whole = results.of("asymmetric", dims), results.of("asymmetric")
    control_part, control_whole = results.of("rotated_asymmetric", dims), results.of("rotated_asymmetric")

    def gain(sample: NDArray[np.intp]) -> float:
        return ratio(part[sample], whole[sample]) - ratio(control_part[sample], control_whole[sample])

    return bootstrap_statistic(gain, len(whole))


def share(part: PerQuery, whole: PerQuery) -> Interval:
    """Return mean(part) / mean(whole) with its 95 % bootstrap interval; both are resampled by the same queries."""
    return bootstrap_statistic(lambda sample: ratio(part[sample], whole[sample]), len(part))


def ratio(part: PerQuery, whole: PerQuery) -> float:
    """Return mean(part) / mean(whole); NaN if the latter is 0, which the interval leaves out."""
    return float(part.mean() / whole.mean()) if whole.mean() > 0 else float("nan")


def interval_measure(arm: str, name: str, interval: Interval, items: int) -> Metric:
    """Return a measure with its interval."""
    return Metric(name, *interval, count=items, arm=arm)


def curves(results: SearchResults, full: int) -> list[Curve]:
    """Return nDCG@10 over the number of dimensions, one panel per precision."""
    sizes = sorted({*results.dims, full})
    models = dict.fromkeys(name.partition(" ")[0] for name, _ in results.values if " " in name)
    return [
        Curve(
            model,
            f"nDCG@10, {precision}",
            "dimensions",
            tuple(float(size) for size in sizes),
            tuple(float(results.of(model, None if size == full else size, precision).mean()) for size in sizes),
        )
        for precision in dict.fromkeys(precision for _, precision in results.values)
        for model in models
    ]
