"""Lists sent to reviewers, and their rankings."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, Select, func, select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.ranking.agreement import check_same_items
from cyclealign.store.prompts import prompt_record
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_new, now, require_open

Row = tuple[tables.Review, str, int, tables.Prompt]


class ReviewStore(Repository):
    """Reviews, by round and prompt."""

    def add(self, round_id: int, doubts: Sequence[records.Doubt]) -> int:
        """Send lists of the round, open or closed, to reviewers; return how many were new."""
        table = tables.Review
        with self._database.writing() as session:
            last = session.scalar(select(func.max(table.position)).where(table.round_id == round_id))
            first = 0 if last is None else last + 1
            rows = [
                {
                    "round_id": round_id,
                    "prompt_id": each.prompt_id,
                    "position": position,
                    "why": each.why,
                    "status": "waiting",
                    "learnt": False,
                    "asked_at": now(),
                }
                for position, each in enumerate(doubts, first)
            ]
            return len(insert_new(session, table, rows, table.prompt_id))

    def find(self, experiment: str | None = None, number: int | None = None) -> list[records.Review]:
        """Return the reviews of all experiments, of one, or of one of its rounds, by round and position.

        An unknown experiment or round has none.
        """
        with self._database.reading() as session:
            asked = _asked()
            asked = asked if experiment is None else asked.where(tables.Experiment.name == experiment)
            asked = asked if number is None else asked.where(tables.Round.number == number)
            return _review_records(session, session.execute(asked).tuples().all())

    def answer(self, round_id: int, prompt_id: str, order: Sequence[str]) -> bool:
        """Store a person's ranking (candidate ids, best first); False if the list was answered or skipped before.

        Raises:
            ValueError: the order does not hold each judged candidate of the list once.
        """
        with self._database.writing() as session:
            check_same_items(order, list(_answers(session, round_id).get(prompt_id, {})))
            return _settle(session, round_id, prompt_id, "answered", list(order))

    def skip(self, round_id: int, prompt_id: str) -> bool:
        """Record that a person skipped the list; False if it was answered or skipped before."""
        with self._database.writing() as session:
            return _settle(session, round_id, prompt_id, "skipped", None)

    def mark_learnt(self, round_id: int) -> dict[str, tuple[str, ...]]:
        """Return reviewers' rankings by prompt id and mark them as learnt: training uses them instead of the judge's.

        Raises:
            LeaseLost: the round is closed.
        """
        table = tables.Review
        learning = (
            update(table)
            .where(table.round_id == round_id, table.status == "answered")
            .values(learnt=True)
            # In one statement: on PostgreSQL a later one would also see, unmarked, what was answered in between.
            .returning(table.position, table.prompt_id, table.verdict)
        )
        with self._database.writing() as session:
            require_open(session, round_id)
            found = sorted(session.execute(learning).tuples(), key=lambda row: row[0])
            return {prompt_id: tuple(verdict or ()) for _, prompt_id, verdict in found}

    def learnt(self, round_id: int) -> dict[str, tuple[str, ...]]:
        """Return the reviewers' rankings that the round's training used, by prompt id."""
        table = tables.Review
        found = (
            select(table.prompt_id, table.verdict)
            .where(table.round_id == round_id, table.status == "answered", table.learnt)
            .order_by(table.position)
        )
        with self._database.reading() as session:
            return {prompt_id: tuple(verdict or ()) for prompt_id, verdict in session.execute(found)}

    def labelled_lists(self, set_name: str) -> list[records.LabelledList]:
        """Return the reviewed lists on prompts of a set, of any experiment, as labelled lists, sorted by id.

        They were selected because the judge was unsteady on them, so they are kept apart from the prompt set's own
        lists, a random sample.
        """
        member = tables.PromptSetMember
        in_set = (
            select(member.prompt_id)
            .join(tables.PromptSet, tables.PromptSet.id == member.prompt_set_id)
            .where(tables.PromptSet.name == set_name)
        )
        with self._database.reading() as session:
            asked = _asked().where(tables.Review.status == "answered", tables.Review.prompt_id.in_(in_set))
            found = _review_records(session, session.execute(asked).tuples().all())
        lists = [labelled(each) for each in found]
        return sorted({each.id: each for each in lists}.values(), key=lambda each: each.id)


def labelled(review: records.Review) -> records.LabelledList:
    """Return an answered review as a labelled list."""
    answers = tuple(review.answers[each] for each in review.verdict or ())
    return records.LabelledList(review.prompt, answers, "review")


def read_reviews(session: Session, round_id: int) -> dict[str, dict[str, Any]]:
    """Return the reviews of the round as JSON values, by prompt id, for the history."""
    table = tables.Review
    found = session.scalars(select(table).where(table.round_id == round_id).order_by(table.position))
    return {
        row.prompt_id: {
            "why": row.why,
            "status": row.status,
            "verdict": row.verdict,
            "learnt": row.learnt,
            "asked_at": row.asked_at.isoformat(),
            "answered_at": row.answered_at.isoformat() if row.answered_at else None,
        }
        for row in found
    }


def _asked() -> Select[Row]:
    return (
        select(tables.Review, tables.Experiment.name, tables.Round.number, tables.Prompt)
        .join(tables.Round, tables.Round.id == tables.Review.round_id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .join(tables.Prompt, tables.Prompt.id == tables.Review.prompt_id)
        .order_by(tables.Review.round_id, tables.Review.position)
    )


def _review_records(session: Session, rows: Sequence[Row]) -> list[records.Review]:
    of_round = {row.round_id: _answers(session, row.round_id) for row, *_ in rows}
    return [
        records.Review(
            round_id=row.round_id,
            experiment=experiment,
            number=number,
            prompt=prompt_record(prompt),
            answers=of_round[row.round_id].get(row.prompt_id, {}),
            why=row.why,
            status=cast(Literal["waiting", "answered", "skipped"], row.status),  # the table takes no other
            verdict=None if row.verdict is None else tuple(row.verdict),
            learnt=row.learnt,
            asked_at=row.asked_at,
        )
        for row, experiment, number, prompt in rows
    ]


def _answers(session: Session, round_id: int) -> Mapping[str, dict[str, str]]:
    """Return the texts of the judged candidates of the round, by prompt id and candidate id."""
    place, ranking, candidate = tables.RankingPlace, tables.Ranking, tables.Candidate
    found = session.execute(
        select(ranking.prompt_id, candidate.id, candidate.text)
        .select_from(place)
        .join(ranking, ranking.id == place.ranking_id)
        .join(candidate, candidate.id == place.candidate_id)
        .where(ranking.round_id == round_id, ranking.ranked_by == "judge")
        .order_by(ranking.prompt_id, candidate.position, candidate.id)
    )
    by_prompt: dict[str, dict[str, str]] = {}
    for prompt_id, candidate_id, text in found:
        by_prompt.setdefault(prompt_id, {})[candidate_id] = text
    return by_prompt


def _settle(session: Session, round_id: int, prompt_id: str, status: str, verdict: list[str] | None) -> bool:
    table = tables.Review
    result = session.execute(
        update(table)
        .where(table.round_id == round_id, table.prompt_id == prompt_id, table.status == "waiting")
        .values(status=status, verdict=verdict, answered_at=now())
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
