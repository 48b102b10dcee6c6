"""Judges compared, by model and version of the template: calls, cost and metrics."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.evaluation.metric_table import about_judge
from cyclealign.store.history import require_experiment
from cyclealign.store.repository import Repository
from cyclealign.store.totals import call_totals

Key = tuple[str, str]  # model, hash of the template


class JudgeStore(Repository):
    """Comparison of judges."""

    def compare(self, experiment: str | None = None) -> list[dict[str, Any]]:
        """Return a row for each judge model and version of the template, of one experiment or of all, the first asked
        first.

        Keys, as in the view ``judge_spending``: ``model``, ``template_hash``, ``rounds`` that this judge ranked for,
        ``answered_calls``, ``failed_calls``, ``prompt_tokens``, ``completion_tokens``, ``cost_usd``, ``estimated_usd``
        (the part of it that no provider confirmed), and ``figures``: the mean over those rounds of each metric about
        the judge, by name. ``template``, ``calls`` and ``tokens`` are the names of 0.2 and earlier.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        with self._database.reading() as session:
            if experiment is not None:
                require_experiment(session, experiment)
            asked = session.execute(of_experiment(_asked(), experiment)).all()
            rounds, figures = _rounds(session, experiment), _figures(session, experiment)
            return [_judge(row, [figures.get(each, {}) for each in rounds.get((row[0], row[1]), [])]) for row in asked]

    def rankers(self, round_id: int) -> dict[str, list[records.Ranker]]:
        """Return the models and template versions whose replies ranked the lists of a round, by prompt id."""
        call = tables.JudgeCall
        columns = (call.subject_id, call.model, call.returned_model, call.template_hash)
        ranked = (call.round_id == round_id, call.purpose == "rank", call.status == "answered")
        by_prompt: dict[str, list[records.Ranker]] = {}
        with self._database.reading() as session:
            for prompt_id, *ranker in session.execute(select(*columns).where(*ranked).distinct().order_by(*columns)):
                by_prompt.setdefault(prompt_id, []).append(records.Ranker(*ranker))
        return by_prompt


def of_experiment(rows: Select[Any], experiment: str | None) -> Select[Any]:
    """Restrict the rows to the experiment, if one is given."""
    return rows if experiment is None else rows.where(tables.Experiment.name == experiment)


def _asked() -> Select[Any]:
    """Select every (model, template) with answered calls, tokens and cost; failed calls cost, too."""
    total = call_totals()
    sums = ("answered_calls", "failed_calls", "prompt_tokens", "completion_tokens", "cost_usd", "estimated_usd")
    return (
        select(total.c.model, total.c.template_hash, *(func.sum(total.c[name]) for name in sums))
        .join(tables.Round, tables.Round.id == total.c.round_id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .group_by(total.c.model, total.c.template_hash)
        .order_by(func.min(total.c.first_call))
    )


def _rounds(session: Session, experiment: str | None) -> dict[Key, list[int]]:
    """Return the rounds of each judge, by the model of their settings and their version of `rank`."""
    used, model = tables.RoundTemplate, tables.Round.settings["judge"]["model"].as_string()
    rows = (
        select(tables.Round.id, model, used.template_hash)
        .join(used, used.round_id == tables.Round.id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .where(used.name == "rank")
        .order_by(tables.Round.id)
    )
    by_judge: dict[Key, list[int]] = {}
    for round_id, name, template in session.execute(of_experiment(rows, experiment)):
        by_judge.setdefault((name or "", template), []).append(round_id)
    return by_judge


def _figures(session: Session, experiment: str | None) -> dict[int, dict[str, float]]:
    """Return the metrics about the judge by round."""
    metric = tables.Metric
    rows = (
        select(metric.round_id, metric.name, metric.value)
        .join(tables.Round, tables.Round.id == metric.round_id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
    )
    by_round: dict[int, dict[str, float]] = {}
    for round_id, name, value in session.execute(of_experiment(rows, experiment)):
        if about_judge(name):
            by_round.setdefault(round_id, {})[name] = value
    return by_round


def _judge(row: Row[Any], rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    model, template, *numbers, cost, estimated = row
    answered, failed, prompt_tokens, completion_tokens = map(int, numbers)  # PostgreSQL sums to decimals
    names = sorted({name for each in rounds for name in each})
    figures = {name: fmean(each[name] for each in rounds if name in each) for name in names}
    return {
        "model": model,
        "template_hash": template,
        "template": template,
        "rounds": len(rounds),
        "answered_calls": answered,
        "calls": answered,
        "failed_calls": failed,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "tokens": prompt_tokens + completion_tokens,
        "cost_usd": cost,
        "estimated_usd": estimated,
        "figures": figures,
    }
