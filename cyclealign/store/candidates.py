"""The policy's candidates of a round, and the flags on them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.prompts import prompt_record
from cyclealign.store.repository import Repository
from cyclealign.store.statements import Row, in_parts, insert_new, require_open


class CandidateStore(Repository):
    """Candidates and their flags."""

    def add(
        self, round_id: int, candidates: Sequence[records.Candidate], sampling: dict[str, object] | None = None
    ) -> None:
        """Add answers to prompts that the round drew, all or none; an existing id stays as it is.

        Add all answers to one prompt at once: a prompt with any candidates counts as answered.

        Raises:
            LeaseLost: the round is closed.
            ValueError: an id belongs to another round, so these answers would be lost: the id must hash the round.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            rows = [_row(round_id, candidate, sampling) for candidate in candidates]
            insert_new(session, tables.Candidate, rows, tables.Candidate.id)
            for part in in_parts([candidate.id for candidate in candidates]):
                elsewhere = (tables.Candidate.id.in_(part), tables.Candidate.round_id != round_id)
                if taken := session.scalar(select(tables.Candidate.id).where(*elsewhere).limit(1)):
                    raise ValueError(f"the candidate id {taken} belongs to another round")

    def take_over(self, round_id: int, new_ids: Mapping[str, str]) -> None:
        """Copy answers of earlier rounds to this one, all or none; an existing id stays as it is.

        Args:
            new_ids: the id of each copy, by the id of its original.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            for part in in_parts(list(new_ids)):
                originals = session.scalars(select(tables.Candidate).where(tables.Candidate.id.in_(part)))
                rows = [
                    _row(round_id, _copy(candidate_record(row), new_ids[row.id]), row.sampling) for row in originals
                ]
                insert_new(session, tables.Candidate, rows, tables.Candidate.id)

    def by_prompt(self, round_id: int, prompt_ids: Sequence[str] | None = None) -> dict[str, list[records.Candidate]]:
        """Return the candidates of the round's train prompts (or of those named), by prompt id, in order."""
        drawn, candidate = tables.RoundPrompt, tables.Candidate
        mine = (drawn.round_id == candidate.round_id, drawn.prompt_id == candidate.prompt_id)
        with self._database.reading() as session:
            query = (
                select(candidate)
                .join(drawn, mine[0] & mine[1])
                .where(candidate.round_id == round_id, drawn.purpose == "train")
                .order_by(drawn.position, candidate.position)
            )
            parts = [query]
            if prompt_ids is not None:
                parts = [query.where(candidate.prompt_id.in_(part)) for part in in_parts(prompt_ids)]
            by_prompt: dict[str, list[records.Candidate]] = {}
            for row in (row for part in parts for row in session.scalars(part)):
                by_prompt.setdefault(row.prompt_id, []).append(candidate_record(row))
            return by_prompt

    def by_id(self, ids: Sequence[str]) -> dict[str, records.Candidate]:
        """Return those of the given ids that are stored, of any round and purpose."""
        with self._database.reading() as session:
            return {
                row.id: candidate_record(row)
                for part in in_parts(ids)
                for row in session.scalars(select(tables.Candidate).where(tables.Candidate.id.in_(part)))
            }

    def unanswered_prompts(self, round_id: int) -> list[records.Prompt]:
        """Return the round's train prompts, in order, that were not set aside and have no candidates yet."""
        drawn, candidate = tables.RoundPrompt, tables.Candidate
        answered = exists().where(candidate.round_id == round_id, candidate.prompt_id == drawn.prompt_id)
        with self._database.reading() as session:
            found = session.scalars(
                select(tables.Prompt)
                .join(drawn, drawn.prompt_id == tables.Prompt.id)
                .where(drawn.round_id == round_id, drawn.purpose == "train", drawn.set_aside_reason.is_(None))
                .where(~answered)
                .order_by(drawn.position)
            )
            return [prompt_record(row) for row in found]

    def add_flags(self, flags: Sequence[records.Flag]) -> None:
        """Flag candidates; an existing flag stays as it is."""
        if not flags:
            return
        with self._database.writing() as session:
            rows = [{"candidate_id": each.candidate_id, "kind": each.kind, "excerpt": each.excerpt} for each in flags]
            insert_new(session, tables.CandidateFlag, rows, tables.CandidateFlag.candidate_id)


def candidate_record(row: tables.Candidate) -> records.Candidate:
    """Return the value of a row."""
    return records.Candidate(
        id=row.id,
        prompt_id=row.prompt_id,
        position=row.position,
        text=row.text,
        token_ids=tuple(row.token_ids),
        logprob_sum=row.logprob_sum,
        finish_reason=cast(Literal["stop", "length"], row.finish_reason),  # the table takes no other
        adapter_id=row.adapter_id,
        copied_from=row.copied_from,
        thought=_thought(row),
    )


def _copy(original: records.Candidate, new_id: str) -> records.Candidate:
    return replace(original, id=new_id, copied_from=original.judged_as)


def _thought(row: tables.Candidate) -> records.Thought | None:
    if row.thought is None:
        return None
    return records.Thought(row.thought, row.thought_tokens or 0, row.thought_logprob_sum or 0.0)


def _row(round_id: int, candidate: records.Candidate, sampling: dict[str, object] | None) -> Row:
    return {
        "id": candidate.id,
        "round_id": round_id,
        "prompt_id": candidate.prompt_id,
        "position": candidate.position,
        "text": candidate.text,
        "token_ids": list(candidate.token_ids),
        "token_count": len(candidate.token_ids),
        "logprob_sum": candidate.logprob_sum,
        "mean_logprob": candidate.mean_logprob,
        "finish_reason": candidate.finish_reason,
        "adapter_id": candidate.adapter_id,
        "sampling": sampling,
        "copied_from": candidate.copied_from,
        "thought": candidate.thought.text if candidate.thought else None,
        "thought_tokens": candidate.thought.tokens if candidate.thought else None,
        "thought_logprob_sum": candidate.thought.logprob_sum if candidate.thought else None,
    }


def read_flags(
    session: Session, round_id: int, prompt_ids: Sequence[str] | None = None
) -> dict[str, list[records.Flag]]:
    """Return the flags of the answers to the round's prompts, or to those named, by candidate id."""
    flag, candidate = tables.CandidateFlag, tables.Candidate
    query = (
        select(flag)
        .join(candidate, candidate.id == flag.candidate_id)
        .where(candidate.round_id == round_id)
        .order_by(flag.candidate_id, flag.kind)
    )
    found = session.scalars(query if prompt_ids is None else query.where(candidate.prompt_id.in_(prompt_ids)))
    by_candidate: dict[str, list[records.Flag]] = {}
    for row in found:
        made = records.Flag(row.candidate_id, row.kind, row.excerpt)
        by_candidate.setdefault(row.candidate_id, []).append(made)
    return by_candidate
