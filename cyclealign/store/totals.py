"""Totals of closed rounds, written in the transaction that closes a round, or adds a call to a closed one."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, case, delete, func, insert, select
from sqlalchemy.orm import Session

from cyclealign import tables
from cyclealign.store.statements import in_parts

CALL, TOTAL = tables.JudgeCall, tables.CallTotal
KEY = ("round_id", "model", "purpose", "template_hash")
SUMS = (
    *("attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds"),
    *("estimated_tokens", "estimated_usd"),
)
COLUMNS = (*KEY, "first_call", "answered_calls", "failed_calls", *SUMS)


def write_totals(session: Session, round_id: int) -> None:
    """Write the totals of a round that this transaction has closed."""
    counts = select(tables.Round.id, *_counts()).where(tables.Round.id == round_id)
    names = ["round_id", *(column.key for column in _counts())]
    session.execute(insert(tables.RoundTotal).from_select(names, counts))
    write_call_totals(session, [round_id])


def write_call_totals(session: Session, round_ids: Iterable[int]) -> None:
    """Sum the calls of closed rounds anew."""
    for round_id in round_ids:
        session.execute(delete(TOTAL).where(TOTAL.round_id == round_id))
        session.execute(insert(TOTAL).from_select(COLUMNS, grouped_calls().where(CALL.round_id == round_id)))


def lock_for_calls(session: Session, round_id: int, experiment_id: ColumnElement[int], keys: Sequence[str]) -> set[int]:
    """Lock the rounds whose sums change if these calls are recorded; return those of them that are closed.

    A failed call of an earlier round moves to this one. An open round is locked against closing, so that its totals
    include every call; a closed one against other changes of its totals.
    """
    moved = (CALL.experiment_id == experiment_id, CALL.status == "failed", CALL.round_id != round_id)
    rounds = {round_id}
    for part in in_parts(keys):
        rounds |= set(session.scalars(select(CALL.round_id).where(*moved, CALL.key.in_(part)).distinct()))
    row = tables.Round
    mine = select(row.id).where(row.id.in_(sorted(rounds))).order_by(row.id)
    closed = set(session.scalars(mine.where(row.status == "closed").with_for_update()))
    others = select(row.id, row.status).where(row.id.in_(rounds - closed)).order_by(row.id)
    found = session.execute(others.with_for_update(read=True)).tuples()
    return closed | {id_ for id_, status in found if status == "closed"}  # closed meanwhile


def grouped_calls() -> Select[Any]:
    """Select the sums over calls by round, model, purpose and template, with the columns of a `CallTotal`."""
    sums = [func.sum(getattr(CALL, name)).label(name) for name in SUMS]
    outcomes = [
        func.sum(case((CALL.status == status, 1), else_=0)).label(f"{status}_calls")
        for status in ("answered", "failed")
    ]
    key = [getattr(CALL, name) for name in KEY]
    return select(*key, func.min(CALL.id).label("first_call"), *outcomes, *sums).group_by(*key)


def call_totals(*of_round: ColumnElement[bool]) -> Subquery:
    """Return the sums over calls by round, model, purpose and template: those kept, and those of open rounds.

    Args:
        of_round: conditions on the rounds.
    """
    row = tables.Round
    closed = select(*(getattr(TOTAL, name) for name in COLUMNS)).join(row, row.id == TOTAL.round_id).where(*of_round)
    # Not by a join: SQLite would read the calls of all rounds in the order of the groups.
    of_open = grouped_calls().where(CALL.round_id.in_(select(row.id).where(row.status == "open", *of_round)))
    return closed.union_all(of_open).subquery("call_totals")


def _counts() -> list[Any]:
    drawn, candidate, ranking, row = tables.RoundPrompt, tables.Candidate, tables.Ranking, tables.Round
    prompts = select(func.count()).where(drawn.round_id == row.id)
    answer = (candidate.round_id == drawn.round_id, candidate.prompt_id == drawn.prompt_id)
    answers = prompts.where(*answer)
    unjudged = tables.UnjudgedPrompt
    counts = {
        "prompts": prompts.where(drawn.purpose == "train"),
        "held_out_prompts": prompts.where(drawn.purpose == "held_out"),
        "prompts_judged": select(func.count()).where(ranking.round_id == row.id, ranking.ranked_by == "judge"),
        "prompts_unjudged": select(func.count()).where(unjudged.round_id == row.id),
        "prompts_set_aside": prompts.where(drawn.set_aside_reason.is_not(None)),
        "answers": answers.where(drawn.purpose == "train"),
        "held_out_answers": answers.where(drawn.purpose == "held_out"),
    }
    return [count.correlate(row).scalar_subquery().label(name) for name, count in counts.items()]
