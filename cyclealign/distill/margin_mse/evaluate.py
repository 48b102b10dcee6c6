"""nDCG, MRR and recall of rankings per query (ir-measures, trec_eval's definitions), and their means with intervals."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from cyclealign.distill.data.retrieval import Qrels, Run
from cyclealign.distill.margin_mse.config import Arm, EvaluationSettings
from cyclealign.evaluation.intervals import bootstrap_mean, paired_difference
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

PerQuery = Mapping[str, Sequence[float]]


def ndcg_name(settings: EvaluationSettings) -> str:
    """Return the name of the main metric."""
    return f"nDCG@{settings.cutoff}"


def per_query(run: Run, qrels: Qrels, settings: EvaluationSettings, recall: bool = False) -> dict[str, list[float]]:
    """Return metric name -> one value per query of ``qrels``, sorted by id.

    A query without a ranking, or without a relevant passage in it, counts 0.
    """
    from ir_measures import RR, R, iter_calc, nDCG

    measures = {
        ndcg_name(settings): nDCG @ settings.cutoff,
        f"MRR@{settings.cutoff}": RR(rel=settings.relevant_from) @ settings.cutoff,
    }
    if recall:
        measures[f"recall@{settings.recall}"] = R(rel=settings.relevant_from) @ settings.recall
    names = {str(measure): name for name, measure in measures.items()}
    ids = sorted(qrels)
    by_name = {name: dict.fromkeys(ids, 0.0) for name in measures}
    grades = {query_id: dict(judged) for query_id, judged in qrels.items()}
    rankings = {query_id: run[query_id] for query_id in ids if run.get(query_id)}
    for metric in iter_calc(list(measures.values()), grades, rankings):
        by_name[names[str(metric.measure)]][metric.query_id] = float(metric.value)
    return {name: [values[query_id] for query_id in ids] for name, values in by_name.items()}


def measures_of(arm: str, values: PerQuery, task: str = "", seed: int = 0) -> list[Metric]:
    """Return the mean of each metric over queries, with its bootstrap interval."""
    return [
        Metric(f"{task}{name}", *bootstrap_mean(row, seed), count=len(row), arm=arm) for name, row in values.items()
    ]


def differences(arms: Mapping[str, PerQuery], better: str, name: str, seed: int = 0) -> list[Metric]:
    """Return how far ``better`` is above each other arm, query by query, with the paired bootstrap interval."""
    return [
        Metric(
            name, *paired_difference(arms[better][name], values[name], seed), len(values[name]), arm=f"{better} - {arm}"
        )
        for arm, values in arms.items()
        if arm != better and better in arms
    ]


def sweep_curves(arms: Mapping[Arm, PerQuery], name: str) -> list[Curve]:
    """Return the mean of a metric over the offset of the teacher's scores, one curve per loss of the sweep."""
    curves = []
    for loss in dict.fromkeys(arm.loss for arm in arms if arm.offset):
        points = sorted((arm.offset, fmean(values[name])) for arm, values in arms.items() if arm.loss == loss)
        x, y = zip(*points, strict=True)
        curves.append(Curve(loss, f"{name} by offset", "standard deviation of the teacher's offset per query", x, y))
    return curves
