"""The history of experiments, as plain JSON values."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cyclealign import tables
from cyclealign.errors import NoSuchExperiment
from cyclealign.store.approval_rows import approval_values
from cyclealign.store.calls import read_problems
from cyclealign.store.changes import read_changes
from cyclealign.store.metrics import read_metrics
from cyclealign.store.notes import read_notes
from cyclealign.store.plans import demonstration_record, read_pool, read_templates
from cyclealign.store.prompt_page import PromptFilter, chosen_prompts, count_prompts, shared_prompts
from cyclealign.store.rejudgements import read_rejudgements
from cyclealign.store.repository import Repository
from cyclealign.store.round_prompts import read_prompts
from cyclealign.store.training_steps import read_training_steps
from cyclealign.tables.columns import Utc
from cyclealign.text import did_you_mean

Values = dict[str, Any]


class HistoryStore(Repository):
    """Summaries and details of rounds."""

    def summaries(self, experiment: str | None = None) -> list[Values]:
        """Return the rows of the view ``round_summary``, of one experiment or of all, by experiment and number.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        with self._database.reading() as session:
            if experiment is not None:
                require_experiment(session, experiment)
            return summaries(session, experiment)

    def outcomes(self, experiment: str) -> list[Values]:
        """Return ``number``, ``verdict`` and ``cost_usd`` of each round of an experiment, by number.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        columns = "SELECT number, verdict, cost_usd FROM round_summary WHERE experiment = :experiment ORDER BY number"
        with self._database.reading() as session:
            require_experiment(session, experiment)
            return [row._asdict() for row in session.execute(text(columns), {"experiment": experiment})]

    def detail(self, experiment: str, number: int) -> Values:
        """Return all that is stored of a round: its `overview`, and ``prompts``, each with its candidates, rankings,
        agreement and review.

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            return {
                **_overview(session, experiment, number),
                "prompts": _with_lists(read_prompts(session, require_round(session, experiment, number))),
            }

    def overview(self, experiment: str, number: int) -> Values:
        """Return all that is stored of a round, without its prompts.

        Keys: ``summary`` (as in the history), ``settings`` in effect, their ``changes`` while it was open, ``seed``,
        ``approval`` (None, or what the evidence suggested and all ``decisions`` of people), ``demonstrations``
        (``in_use``, ``promoted``, ``retired``), ``templates``, ``notes``, ``rejudgements``, ``parent_adapter``,
        ``adapter``, ``metrics``, ``steps``, ``training_steps``, ``failed_calls``, ``unreadable_replies``, ``controls``
        (requests on control lists, with their replies).

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            return _overview(session, experiment, number)

    def prompts(
        self, experiment: str, number: int, chosen: PromptFilter, limit: int | None = None, start: int = 0
    ) -> tuple[list[Values], int]:
        """Return some prompts of a round as in its `detail`, and the number of prompts that the filter leaves.

        Only the rows of these prompts are read.

        Args:
            chosen: the prompts to leave.
            limit: maximum number of prompts; None: all.
            start: number of prompts to pass over.

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            round_id = require_round(session, experiment, number)
            ids = chosen_prompts(session, round_id, chosen, limit, start)
            count = count_prompts(session, round_id, chosen)
            return _with_lists(read_prompts(session, round_id, ids)), count

    def prompt(self, experiment: str, number: int, prompt_id: str) -> Values | None:
        """Return one prompt of a round as in its `detail`; None if the round did not draw it.

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            round_id = require_round(session, experiment, number)
            if session.get(tables.RoundPrompt, (round_id, prompt_id)) is None:
                return None
            found: Values = _with_lists(read_prompts(session, round_id, [prompt_id]))[0]
            return found

    def shared_prompts(
        self, first: tuple[str, int], second: tuple[str, int], limit: int, start: int = 0
    ) -> tuple[list[tuple[Values, Values]], int]:
        """Return prompts that two rounds share, as each round has them, and the number of all such prompts.

        Args:
            first: experiment and number of a round; its order counts.
            second: the other round.
            limit: maximum number of prompts.
            start: number of prompts to pass over.

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            rounds = require_round(session, *first), require_round(session, *second)
            ids, count = shared_prompts(session, *rounds, limit, start)
            pages = [_with_lists(read_prompts(session, round_id, ids)) for round_id in rounds]
            return list(zip(*pages, strict=True)), count


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


def summaries(session: Session, experiment: str | None, first: int = 1, last: int | None = None) -> list[Values]:
    """Return the rows of the view ``round_summary``, of all experiments or of one from round ``first`` to ``last``."""
    query = "SELECT * FROM round_summary {} ORDER BY experiment, number"
    if experiment is None:
        found = session.execute(text(query.format("")).columns(opened_at=Utc, closed_at=Utc))
    else:
        upto = "" if last is None else " AND number <= :last"
        mine = text(query.format(f"WHERE experiment = :experiment AND number >= :first{upto}"))
        values = {"experiment": experiment, "first": first, **({} if last is None else {"last": last})}
        found = session.execute(mine.columns(opened_at=Utc, closed_at=Utc), values)
    return [plain(row._asdict()) for row in found]


def _with_lists(value: Any) -> Any:
    """Return the value with lists for tuples, as after a round trip through JSON."""
    if isinstance(value, dict):
        return {name: _with_lists(part) for name, part in value.items()}
    return [_with_lists(part) for part in value] if isinstance(value, list | tuple) else value


def plain(row: Mapping[str, Any]) -> Values:
    """Return a row as JSON values: times become text."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _overview(session: Session, experiment: str, number: int) -> Values:
    row = session.get_one(tables.Round, require_round(session, experiment, number))
    (summary,) = summaries(session, experiment, number, number)
    return {"summary": summary, **_with_lists(_details(session, row))}


def _details(session: Session, row: tables.Round) -> Values:
    adapter = session.scalar(select(tables.Adapter).where(tables.Adapter.round_id == row.id))
    return {
        "settings": row.settings,
        "changes": read_changes(session, row.id),
        "seed": row.seed,
        "approval": approval_values(session, row.id),
        "demonstrations": {
            "in_use": [asdict(shown) for shown in read_pool(session, row.id)],
            "promoted": _promoted(session, row),
            "retired": _retired(session, row.id),
        },
        # "hash" is the name of 0.2 and earlier.
        "templates": [
            {"template_hash": used.hash, "hash": used.hash, **asdict(used)} for used in read_templates(session, row.id)
        ],
        "notes": read_notes(session, row.id),
        "rejudgements": read_rejudgements(session, row.id),
        "parent_adapter": row.parent_adapter_id,
        "adapter": None if adapter is None else _columns(adapter),
        "metrics": [asdict(metric) for metric in read_metrics(session, row.id).values()],
        "steps": _steps(session, row.id),
        "training_steps": [
            {**asdict(step), "tokens_per_second": step.tokens_per_second}
            for step in read_training_steps(session, row.id)
        ],
        "failed_calls": _failed_calls(session, row.id),
        "unreadable_replies": read_problems(session, row.id),
        "controls": _controls(session, row.id),
    }


def _columns(row: tables.Base) -> Values:
    return plain({column.name: getattr(row, column.name) for column in row.__table__.columns})


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
