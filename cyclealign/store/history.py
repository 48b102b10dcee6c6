"""The history of experiments, as plain JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import NoSuchExperiment
from cyclealign.store.agreements import read_agreements
from cyclealign.store.calls import read_problems
from cyclealign.store.candidates import candidate_record, read_flags
from cyclealign.store.changes import read_changes
from cyclealign.store.database import Database
from cyclealign.store.metrics import read_metrics
from cyclealign.store.notes import read_notes
from cyclealign.store.plans import demonstration_record, read_pool, read_templates
from cyclealign.store.prompts import prompt_record
from cyclealign.store.rankings import read_rankings, read_unjudged
from cyclealign.store.rejudgements import read_rejudgements
from cyclealign.store.reviews import read_reviews
from cyclealign.tables.columns import Utc
from cyclealign.text import did_you_mean

Values = dict[str, Any]


class HistoryStore:
    """Summaries and details of rounds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summaries(self, experiment: str | None = None) -> list[Values]:
        """Return the rows of the view ``round_summary``, of one experiment or of all, by experiment and number.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        with self._database.reading() as session:
            if experiment is not None:
                require_experiment(session, experiment)
            return summaries(session, experiment)

    def detail(self, experiment: str, number: int) -> Values:
        """Return all that is stored of a round.

        Keys: ``summary`` (as in the history), ``settings`` in effect, their ``changes`` while it was open, ``seed``,
        ``prompts`` (each with its candidates, rankings, agreement and review), ``demonstrations`` (``in_use``,
        ``promoted``, ``retired``), ``templates``, ``notes``, ``rejudgements``, ``parent_adapter``, ``adapter``,
        ``metrics``, ``steps``, ``failed_calls``, ``unreadable_replies``, ``controls`` (requests on control lists, with
        their replies).

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            row = session.get_one(tables.Round, require_round(session, experiment, number))
            summary = next(each for each in summaries(session, experiment) if each["number"] == number)
            return {"summary": summary, **_with_lists(_details(session, row))}


def require_round(session: Session, experiment: str, number: int) -> int:
    """Return the id of a round; raise NoSuchExperiment, with the known numbers, if it does not exist."""
    require_experiment(session, experiment)
    found = session.execute(
        select(tables.Round.number, tables.Round.id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .where(tables.Experiment.name == experiment)
        .order_by(tables.Round.number)
    )
    ids: dict[int, int] = dict(found.tuples().all())
    if number not in ids:
        known = ", ".join(map(str, ids)) or "none yet"
        raise NoSuchExperiment(f"Experiment '{experiment}' has no round {number} (rounds: {known}).")
    return ids[number]


def require_experiment(session: Session, name: str) -> None:
    """Raise NoSuchExperiment, with the known names, unless the experiment exists."""
    known = session.scalars(select(tables.Experiment.name).order_by(tables.Experiment.name)).all()
    if name not in known:
        names = ", ".join(known) or "none yet"
        raise NoSuchExperiment(f"There is no experiment '{name}' (known: {names}).{did_you_mean(name, known)}")


def summaries(session: Session, experiment: str | None) -> list[Values]:
    """Return the rows of the view ``round_summary``, of one experiment or of all."""
    query = "SELECT * FROM round_summary {} ORDER BY experiment, number"
    if experiment is None:
        found = session.execute(text(query.format("")).columns(opened_at=Utc, closed_at=Utc))
    else:
        mine = text(query.format("WHERE experiment = :experiment")).columns(opened_at=Utc, closed_at=Utc)
        found = session.execute(mine, {"experiment": experiment})
    return [plain(row._asdict()) for row in found]


def _with_lists(values: Values) -> Values:
    """Return the values with lists for tuples, as after a round trip through JSON."""

    def listed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: listed(part) for name, part in value.items()}
        return [listed(part) for part in value] if isinstance(value, list | tuple) else value

    return {name: listed(value) for name, value in values.items()}


def plain(row: Mapping[str, Any]) -> Values:
    """Return a row as JSON values: times become text."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _details(session: Session, row: tables.Round) -> Values:
    adapter = session.scalar(select(tables.Adapter).where(tables.Adapter.round_id == row.id))
    return {
        "settings": row.settings,
        "changes": read_changes(session, row.id),
        "seed": row.seed,
        "prompts": _prompts(session, row.id),
        "demonstrations": {
            "in_use": [asdict(shown) for shown in read_pool(session, row.id)],
            "promoted": _promoted(session, row),
            "retired": _retired(session, row.id),
        },
        "templates": [{"hash": used.hash, **asdict(used)} for used in read_templates(session, row.id)],
        "notes": read_notes(session, row.id),
        "rejudgements": read_rejudgements(session, row.id),
        "parent_adapter": row.parent_adapter_id,
        "adapter": None if adapter is None else _columns(adapter),
        "metrics": [asdict(metric) for metric in read_metrics(session, row.id).values()],
        "steps": _steps(session, row.id),
        "failed_calls": _failed_calls(session, row.id),
        "unreadable_replies": read_problems(session, row.id),
        "controls": _controls(session, row.id),
    }


def _columns(row: tables.Base) -> Values:
    return plain({column.name: getattr(row, column.name) for column in row.__table__.columns})


def _prompts(session: Session, round_id: int) -> list[Values]:
    candidates = _candidates(session, round_id)
    rankings = _by_prompt(read_rankings(session, round_id))
    agreements = {row.prompt_id: asdict(row) for row in read_agreements(session, round_id)}
    unjudged, reviews = read_unjudged(session, round_id), read_reviews(session, round_id)
    found = session.execute(
        select(tables.Prompt, tables.RoundPrompt)
        .join(tables.RoundPrompt, tables.RoundPrompt.prompt_id == tables.Prompt.id)
        .where(tables.RoundPrompt.round_id == round_id)
        .order_by(tables.RoundPrompt.purpose.desc(), tables.RoundPrompt.position)
    )
    return [
        {
            "id": drawn.prompt_id,
            "text": asked.text,
            "turns": list(prompt_record(asked).turns),
            "purpose": drawn.purpose,
            "set_aside_reason": drawn.set_aside_reason,
            "candidates": candidates.get(drawn.prompt_id, []),
            "rankings": rankings.get(drawn.prompt_id, {}),
            "unjudged_reason": unjudged.get(drawn.prompt_id),
            "agreement": agreements.get(drawn.prompt_id),
            "review": reviews.get(drawn.prompt_id),
        }
        for asked, drawn in found
    ]


def _candidates(session: Session, round_id: int) -> dict[str, list[Values]]:
    candidate = tables.Candidate
    by_prompt: dict[str, list[Values]] = {}
    flags = read_flags(session, round_id)
    found = session.scalars(
        select(candidate).where(candidate.round_id == round_id).order_by(candidate.position, candidate.id)
    )
    for row in found:
        values = asdict(candidate_record(row))
        del values["token_ids"]  # most of the size of a history, and of no use to its readers
        values.update(token_count=row.token_count, mean_logprob=row.mean_logprob)
        values["flags"] = [{"kind": each.kind, "excerpt": each.excerpt} for each in flags.get(row.id, [])]
        by_prompt.setdefault(row.prompt_id, []).append(values)
    return by_prompt


def _by_prompt(rankings: Sequence[records.Ranking]) -> dict[str, Values]:
    by_prompt: dict[str, Values] = {}
    for ranking in rankings:
        given: Values = {"order": list(ranking.order), "steadiness": ranking.steadiness}
        given["preferences"] = [asdict(each) for each in ranking.preferences]
        given["reasons"] = [{"candidate": candidate, "reason": reason} for candidate, reason in ranking.reasons]
        by_prompt.setdefault(ranking.prompt_id, {})[ranking.by] = given
    return by_prompt


def _promoted(session: Session, row: tables.Round) -> list[Values]:
    promotion = tables.DemonstrationPromotion
    found = session.execute(
        select(tables.Demonstration, promotion)
        .join(promotion, promotion.demonstration_id == tables.Demonstration.id)
        .where(promotion.round_id == row.id)
        .order_by(promotion.position)
    )
    return [
        {**asdict(demonstration_record(content, made.tau, made.chance, row.number)), "prompt_id": made.prompt_id}
        for content, made in found
    ]


def _retired(session: Session, round_id: int) -> list[Values]:
    retirement = tables.DemonstrationRetirement
    found = session.scalars(
        select(tables.Demonstration)
        .join(retirement, retirement.demonstration_id == tables.Demonstration.id)
        .where(retirement.round_id == round_id)
        .order_by(tables.Demonstration.id)
    )
    return [_columns(row) for row in found]


def _steps(session: Session, round_id: int) -> list[Values]:
    step = tables.RoundStep
    found = session.scalars(select(step).where(step.round_id == round_id).order_by(step.step))
    return [{"step": row.step, "seconds": row.seconds, "runs": row.runs} for row in found]


def _failed_calls(session: Session, round_id: int) -> list[Values]:
    call = tables.JudgeCall
    found = session.scalars(
        select(call).where(call.round_id == round_id, call.status == "failed").order_by(call.asked_at, call.id)
    )
    names = ("key", "purpose", "subject_id", "model", "error", "reply", "attempts")
    return [{name: getattr(row, name) for name in names} for row in found]


def _controls(session: Session, round_id: int) -> list[Values]:
    """Return the requests on control lists, each with its last message and the reply."""
    call = tables.JudgeCall
    found = session.scalars(
        select(call)
        .where(call.round_id == round_id, call.purpose == "health", call.status == "answered")
        .order_by(call.subject_id, call.id)
    )
    return [{"control": row.subject_id, "asked": row.messages[-1]["content"], "reply": row.reply} for row in found]
