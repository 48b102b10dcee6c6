"""Judges compared, by model and version of the template: calls, cost and metrics."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.evaluation.metric_table import about_judge
from cyclealign.store.history import require_experiment
from cyclealign.store.metrics import read_metrics
from cyclealign.store.repository import Repository

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
            rounds = _rounds(session, experiment)
            return [
                _judge(row, [_figures(session, each) for each in rounds.get((row[0], row[1]), [])]) for row in asked
            ]

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
    call = tables.JudgeCall
    return (
        select(
            call.model,
            call.template_hash,
            func.count().filter(call.status == "answered"),
            func.count().filter(call.status == "failed"),
            func.sum(call.prompt_tokens),
            func.sum(call.completion_tokens),
            func.sum(call.cost_usd),
            func.sum(call.estimated_usd),
        )
        .join(tables.Experiment, tables.Experiment.id == call.experiment_id)
        .group_by(call.model, call.template_hash)
        .order_by(func.min(call.id))
    )


def _rounds(session: Session, experiment: str | None) -> dict[Key, list[int]]:
    """Return the rounds of each judge, by the model of their settings and their version of `rank`."""
    used = tables.RoundTemplate
    found = session.execute(
        of_experiment(
            select(tables.Round.id, tables.Round.settings, used.template_hash)
            .join(used, used.round_id == tables.Round.id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(used.name == "rank")
            .order_by(tables.Round.id),
            experiment,
        )
    )
    by_judge: dict[Key, list[int]] = {}
    for round_id, settings, template in found:
        by_judge.setdefault((settings.get("judge", {}).get("model", ""), template), []).append(round_id)
    return by_judge


def _figures(session: Session, round_id: int) -> dict[str, float]:
    return {name: metric.value for name, metric in read_metrics(session, round_id).items() if about_judge(name)}


def _judge(row: Row[Any], rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    model, template, answered, failed, prompt_tokens, completion_tokens, cost, estimated = row
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
