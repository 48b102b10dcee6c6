"""Rounds: opened in one transaction, held under a lease, closed by one conditional UPDATE."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

from sqlalchemy import ColumnElement, CursorResult, Update, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from cyclealign import records, tables
from cyclealign.errors import ExperimentBusy, LeaseLost, NoSuchExperiment
from cyclealign.store.history import require_round
from cyclealign.store.plans import add_held_out, first_of_repeated, read_adapter, read_round, write_plan
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert, insert_new, now, refused, require_owner, without_result
from cyclealign.store.totals import write_totals
from cyclealign.store.upkeep import free_origin

Verdict = Literal["accepted", "rolled_back", "undecided", "abandoned"]


class RoundStore(Repository):
    """The rounds of experiments.

    ``owner`` names one run, the same from its start to its end; no two runs share it.
    """

    def open(self, plan: records.RoundPlan, owner: str, lease_seconds: float) -> records.Round:
        """Open the next round of the experiment, created if new, with everything that the round reads.

        Raises:
            ExperimentBusy: a round of the experiment is open already.
        """
        with self._database.writing() as session:
            experiment_id = _lock_experiment(session, plan)
            _refuse_second_round(session, experiment_id, plan.experiment)
            last = session.scalar(
                select(func.max(tables.Round.number)).where(tables.Round.experiment_id == experiment_id)
            )
            parent = _last_kept(session, plan.experiment)[1]
            opened = tables.Round(
                experiment_id=experiment_id,
                number=(last or 0) + 1,
                status="open",
                owner=owner,
                lease_until=now() + timedelta(seconds=lease_seconds),
                seed=plan.seed,
                settings=plan.settings,
                base_model=plan.base_model,
                parent_adapter_id=parent.id if parent else None,
                opened_at=now(),
            )
            session.add(opened)
            session.flush()
            write_plan(session, opened.id, plan)
            # Read back, so that a first run works on the very values that a resumed one would see.
            session.expire_all()
            return read_round(session, opened.id)

    def unfinished(self, experiment: str) -> records.Round | None:
        """Return the unfinished round of the experiment with its plan as it was opened, or None."""
        with self._database.reading() as session:
            round_id = session.scalar(
                select(tables.Round.id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment, tables.Round.status == "open")
            )
            return None if round_id is None else read_round(session, round_id)

    def get(self, experiment: str, number: int) -> records.Round:
        """Return a round, open or closed, with its plan as it was opened.

        Raises:
            NoSuchExperiment: there is no such experiment or round; the message names those that there are.
        """
        with self._database.reading() as session:
            return read_round(session, require_round(session, experiment, number))

    def take_over(self, round_id: int, owner: str, lease_seconds: float, alive: Callable[[str], bool]) -> None:
        """Take the lease of an open round if it is ours, has expired, or its owner has certainly ended.

        ``alive`` returns False for an owner only if that run has certainly ended.

        Raises:
            ExperimentBusy: another run holds the round; the message says which, until when, and what to do.
        """
        with self._database.reading() as session:
            held = _find_round(session, round_id)
            free = held.owner == owner or held.lease_until < now()
        takeable: list[ColumnElement[bool]] = [tables.Round.owner == owner, tables.Round.lease_until < now()]
        if not free and not alive(held.owner):
            takeable.append(tables.Round.owner == held.owner)
        with self._database.writing() as session:
            if not _hold(session, round_id, or_(*takeable), owner, lease_seconds):
                raise ExperimentBusy(_who_holds(session, round_id))

    def renew_lease(self, round_id: int, owner: str, lease_seconds: float) -> None:
        """Extend the lease to ``lease_seconds`` from now.

        Raises:
            LeaseLost: another run took the round over, or closed it.
        """
        with self._database.writing() as session:
            if not _hold(session, round_id, tables.Round.owner == owner, owner, lease_seconds):
                raise LeaseLost(_who_took(session, round_id))

    def draw_held_out(self, round_id: int, owner: str, prompts: Sequence[records.Prompt]) -> None:
        """Add held-out prompts to an open round, after those that it has.

        Raises:
            LeaseLost: another run took the round over, or closed it.
        """
        with self._database.writing() as session:
            require_owner(session, round_id, owner)
            add_held_out(session, round_id, prompts)

    def add_step_seconds(self, round_id: int, step: str, seconds: float) -> None:
        """Add the seconds that one run spent on a step; those of a resumed round's runs add up."""
        spent = tables.RoundStep
        with self._database.writing() as session:
            statement = insert(session, spent).values(round_id=round_id, step=step, seconds=seconds, runs=1)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=[spent.round_id, spent.step],
                    set_={"seconds": spent.seconds + statement.excluded.seconds, "runs": spent.runs + 1},
                )
            )

    def close(self, round_id: int, owner: str, verdict: Verdict, reason: str, kept: bool | None = None) -> None:
        """Close the round: if ``accepted``, all its proposals count from now on; otherwise none of them.

        Args:
            kept: whether the next round starts from its weights; None: if it is accepted.

        Raises:
            LeaseLost: another run took the round over; nothing has changed.
        """
        kept = verdict == "accepted" if kept is None else kept
        statement = (
            update(tables.Round)
            .where(tables.Round.id == round_id, tables.Round.owner == owner, tables.Round.status == "open")
            .values(status="closed", verdict=verdict, kept=kept, reason=reason, closed_at=now())
        )
        with self._database.writing(durable=True) as session:
            if _changed(session, statement) != 1:
                raise LeaseLost(_who_took(session, round_id))
            write_totals(session, round_id)

    def count_closed(self, experiment: str, run: str | None = None) -> int:
        """Return how many rounds of the experiment were closed, by any run or by owners whose names end with ``/run``.

        Rounds that were abandoned, or closed before the policy answered, are not counted: otherwise a retried run would
        count one as its own success.
        """
        closed = (
            select(func.count(tables.Round.id))
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(tables.Experiment.name == experiment, tables.Round.status == "closed", ~without_result())
        )
        if run is not None:
            closed = closed.where(tables.Round.owner.endswith(f"/{run}", autoescape=True))
        with self._database.reading() as session:
            return session.scalar(closed) or 0

    def rollbacks_in_a_row(self, experiment: str) -> int:
        """Return how many rounds in a row were not kept: rolled back or undecided, without those of a refused judge."""
        of_experiment = (
            select(tables.Round.number)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(tables.Experiment.name == experiment)
        )
        kept = of_experiment.where(tables.Round.kept)
        verdicts = tables.Round.verdict.in_(("rolled_back", "undecided"))
        dropped = of_experiment.where(verdicts, ~tables.Round.kept, ~refused())
        with self._database.reading() as session:
            last = session.scalar(kept.with_only_columns(func.max(tables.Round.number))) or 0
            later = dropped.where(tables.Round.number > last).with_only_columns(func.count(tables.Round.id))
            return session.scalar(later) or 0

    def repeated(self, round_: records.Round) -> list[records.Round]:
        """Return the abandoned rounds whose prompts this one may draw again, the last one first.

        They are those since the last round with a result; refused rounds among them have no answers.
        """
        earlier = (
            select(tables.Round.id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(tables.Experiment.name == round_.experiment, tables.Round.number < round_.number)
        )
        last = earlier.with_only_columns(func.max(tables.Round.number)).where(~without_result())
        with self._database.reading() as session:
            since = tables.Round.number > (session.scalar(last) or 0)
            abandoned = earlier.where(since, tables.Round.verdict == "abandoned").order_by(tables.Round.number.desc())
            return [read_round(session, round_id) for round_id in session.scalars(abandoned)]

    def next_number(self, experiment: str) -> tuple[int, int]:
        """Return the number of the experiment's next round, and the number from which its seeds will follow."""
        with self._database.reading() as session:
            experiment_id = session.scalar(select(tables.Experiment.id).where(tables.Experiment.name == experiment))
            last = session.scalar(
                select(func.max(tables.Round.number)).where(tables.Round.experiment_id == experiment_id)
            )
            number = (last or 0) + 1
            return number, first_of_repeated(session, experiment_id, number) or number

    def earlier_tests(self, round_: records.Round) -> list[tuple[str, float]]:
        """Return verdict and e-value against the parent of each earlier round that was tested, by number."""
        metric = tables.Metric
        tested = (
            select(tables.Round.verdict, metric.value)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .join(metric, (metric.round_id == tables.Round.id) & (metric.name == "win_e_value"))
            .where(tables.Experiment.name == round_.experiment, tables.Round.number < round_.number)
            .where(tables.Round.verdict.in_(("accepted", "rolled_back", "undecided")))
            .order_by(tables.Round.number)
        )
        with self._database.reading() as session:
            return [(str(verdict), float(value)) for verdict, value in session.execute(tested)]

    def last_kept(self, experiment: str) -> tuple[int, records.Adapter | None]:
        """Return number and adapter of the last round that was kept, or (0, None), the base model, if there is none.

        A round that was accepted without training an adapter keeps its parent's.
        """
        with self._database.reading() as session:
            return _last_kept(session, experiment)

    def last_accepted(self, experiment: str) -> tuple[int, records.Adapter | None]:
        """Return number and weights of the last round that was accepted; (0, None) if none was.

        A round that was accepted without training an adapter has its parent's.
        """
        with self._database.reading() as session:
            return _last(session, experiment, tables.Round.verdict == "accepted")


def _lock_experiment(session: Session, plan: records.RoundPlan) -> int:
    """Create the experiment if it is new, and lock it until this transaction ends: nobody else opens a round."""
    origin = free_origin(session, plan.experiment)
    row = {"name": plan.experiment, "seed": plan.seed, "created_at": now(), "origin": origin}
    insert_new(session, tables.Experiment, [row], tables.Experiment.id)
    named = select(tables.Experiment.id).where(tables.Experiment.name == plan.experiment)
    return session.scalars(named.with_for_update()).one()


def _refuse_second_round(session: Session, experiment_id: int, name: str) -> None:
    held = session.scalar(
        select(tables.Round.id).where(tables.Round.experiment_id == experiment_id, tables.Round.status == "open")
    )
    if held is not None:
        raise ExperimentBusy(_who_holds(session, held))


def _last_kept(session: Session, experiment: str) -> tuple[int, records.Adapter | None]:
    return _last(session, experiment, tables.Round.kept)


def _last(
    session: Session, experiment: str, condition: ColumnElement[bool] | InstrumentedAttribute[bool]
) -> tuple[int, records.Adapter | None]:
    row = session.execute(
        select(tables.Round.number, func.coalesce(tables.Adapter.id, tables.Round.parent_adapter_id))
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .outerjoin(tables.Adapter, tables.Adapter.round_id == tables.Round.id)
        .where(tables.Experiment.name == experiment, condition)
        .order_by(tables.Round.number.desc())
        .limit(1)
    ).first()
    return (0, None) if row is None else (row[0], read_adapter(session, row[1]))


def _hold(session: Session, round_id: int, condition: ColumnElement[bool], owner: str, lease_seconds: float) -> bool:
    statement = (
        update(tables.Round)
        .where(tables.Round.id == round_id, tables.Round.status == "open", condition)
        .values(owner=owner, lease_until=now() + timedelta(seconds=lease_seconds))
    )
    return _changed(session, statement) == 1


def _changed(session: Session, statement: Update) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount


def _find_round(session: Session, round_id: int) -> tables.Round:
    row = session.get(tables.Round, round_id)
    if row is None:
        raise NoSuchExperiment(f"There is no round with the id {round_id}.")
    return row


def _name(session: Session, row: tables.Round) -> str:
    experiment = session.get_one(tables.Experiment, row.experiment_id).name
    return f"Round {row.number} of experiment '{experiment}'"


def _who_holds(session: Session, round_id: int) -> str:
    row = _find_round(session, round_id)
    name, owner = _name(session, row), records.owner_in_words(row.owner)
    if row.status == "closed":
        return f"{name} was finished by {owner} in the meantime. Rerun the same command to continue."
    return (
        f"{name} is held by {owner} until {row.lease_until:%Y-%m-%d %H:%M:%S} UTC. Wait until that "
        "run ends; if it was killed, rerun the same command after that time to resume the round."
    )


def _who_took(session: Session, round_id: int) -> str:
    row = _find_round(session, round_id)
    did = "finished" if row.status == "closed" else "taken over"
    owner = records.owner_in_words(row.owner)
    return (
        f"{_name(session, row)} was {did} by {owner} after this run's lease had expired. No "
        "partial result of this run was kept: rerun the same command to continue."
    )
