"""What is worth a remark: replies that could not be read, prompts without a verdict, answers that look like attacks."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.writing import experiment_of, insert, insert_new, now, require_open


class RemarkMemory(Database):
    """The part of the store that holds remarks on replies, prompts and answers, and what endpoints support."""

    def leave_unjudged(self, round_id: int, prompt_id: str, reason: str) -> None:
        """Say that a prompt has no verdict, and why; a later ranking of it takes that back.

        Raises:
            LeaseLost: the round is closed.
        """
        with self.writing() as session:
            require_open(session, round_id)
            row = {"round_id": round_id, "prompt_id": prompt_id, "reason": reason}
            statement = insert(session, tables.UnjudgedPrompt).values(row)
            keys = ["round_id", "prompt_id"]
            session.execute(statement.on_conflict_do_update(index_elements=keys, set_={"reason": reason}))

    def note_problems(self, round_id: int, problems: Mapping[str, str]) -> None:
        """Say why replies could not be read, by key of the call; a call without a stored reply is passed over."""
        call = tables.JudgeCall
        with self.writing() as session:
            found = session.execute(
                select(call.key, call.id).where(
                    call.experiment_id == experiment_of(round_id),
                    call.status == "answered",
                    call.key.in_(list(problems)),
                )
            )
            rows = [{"judge_call_id": id_, "problem": problems[key]} for key, id_ in found]
            insert_new(session, tables.ReplyProblem, rows, tables.ReplyProblem.judge_call_id)

    def add_flags(self, flags: Sequence[records.Flag]) -> None:
        """Flag answers; a flag that is there already is left as it is."""
        if not flags:
            return
        with self.writing() as session:
            rows = [{"candidate_id": each.candidate_id, "kind": each.kind, "excerpt": each.excerpt} for each in flags]
            insert_new(session, tables.CandidateFlag, rows, tables.CandidateFlag.candidate_id)

    def note(self, round_id: int, about: str, words: str) -> None:
        """Tell readers of the history something about the round; an earlier note about the same is replaced."""
        with self.writing() as session:
            row = {"round_id": round_id, "about": about, "words": words}
            statement = insert(session, tables.RoundNote).values(row)
            session.execute(
                statement.on_conflict_do_update(index_elements=["round_id", "about"], set_={"words": words})
            )

    def takes_json_schema(self, address: str, model: str) -> bool | None:
        """Whether the endpoint was found to take a JSON schema for its replies; None: nobody has tried."""
        with self.reading() as session:
            row = session.get(tables.JudgeEndpoint, records.content_id("endpoint", address, model))
            return None if row is None else row.json_schema

    def note_json_schema(self, address: str, model: str, taken: bool) -> None:
        """Remember whether the endpoint takes a JSON schema; the address is kept as a hash: it may hold a secret."""
        row = {"id": records.content_id("endpoint", address, model), "model": model, "json_schema": taken}
        row["found_at"] = now()
        with self.writing() as session:
            statement = insert(session, tables.JudgeEndpoint).values(row)
            session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


def read_unjudged(session: Session, round_id: int) -> dict[str, str]:
    """Why prompts of the round have no verdict, by prompt id."""
    table = tables.UnjudgedPrompt
    found = session.execute(select(table.prompt_id, table.reason).where(table.round_id == round_id))
    return {row.prompt_id: row.reason for row in found}


def read_notes(session: Session, round_id: int) -> dict[str, str]:
    """The notes on the round by what they are about."""
    table = tables.RoundNote
    found = session.execute(select(table.about, table.words).where(table.round_id == round_id).order_by(table.about))
    return {row.about: row.words for row in found}


def read_flags(session: Session, round_id: int) -> dict[str, list[records.Flag]]:
    """The flags of the round's answers, by candidate id."""
    flag, candidate = tables.CandidateFlag, tables.Candidate
    found = session.scalars(
        select(flag)
        .join(candidate, candidate.id == flag.candidate_id)
        .where(candidate.round_id == round_id)
        .order_by(flag.candidate_id, flag.kind)
    )
    by_candidate: dict[str, list[records.Flag]] = {}
    for row in found:
        made = records.Flag(row.candidate_id, row.kind, row.excerpt)
        by_candidate.setdefault(row.candidate_id, []).append(made)
    return by_candidate


def read_problems(session: Session, round_id: int) -> list[dict[str, Any]]:
    """The replies of the round that could not be read, with what was wrong."""
    call, problem = tables.JudgeCall, tables.ReplyProblem
    found = session.execute(
        select(call, problem.problem)
        .join(problem, problem.judge_call_id == call.id)
        .where(call.round_id == round_id)
        .order_by(call.asked_at, call.id)
    )
    return [
        {"key": row.key, "purpose": row.purpose, "subject_id": row.subject_id, "reply": row.reply, "problem": words}
        for row, words in found
    ]
