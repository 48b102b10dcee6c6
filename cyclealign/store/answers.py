"""What the policy answered in a round, and which of the round's prompts were set aside."""

from collections.abc import Sequence
from typing import Literal, cast

from sqlalchemy import exists, select, update

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.prompts import prompt_record
from cyclealign.store.writing import Row, in_parts, insert_new, require_open


class AnswerMemory(Database):
    """The part of the store that holds candidates."""

    def set_aside(self, round_id: int, prompt_id: str, reason: str) -> None:
        """Leave a prompt of the round out of what follows, and say why.

        Raises:
            LeaseLost: the round is closed.
            ValueError: the round did not draw this prompt.
        """
        drawn = (tables.RoundPrompt.round_id == round_id, tables.RoundPrompt.prompt_id == prompt_id)
        change = update(tables.RoundPrompt).where(*drawn).values(set_aside_reason=reason)
        with self.writing() as session:
            require_open(session, round_id)
            if session.scalar(change.returning(tables.RoundPrompt.prompt_id)) is None:
                raise ValueError(f"round {round_id} did not draw the prompt {prompt_id}")

    def set_aside_prompts(self, round_id: int) -> dict[str, str]:
        """Prompt id to reason, for the prompts that were set aside."""
        drawn = tables.RoundPrompt
        with self.reading() as session:
            found = session.execute(
                select(drawn.prompt_id, drawn.set_aside_reason)
                .where(drawn.round_id == round_id, drawn.set_aside_reason.is_not(None))
                .order_by(drawn.purpose, drawn.position)
            )
            return {prompt_id: str(reason) for prompt_id, reason in found}

    def prompts_without_candidates(self, round_id: int) -> list[records.Prompt]:
        """The round's train prompts, in order, that were not set aside and have no candidates yet."""
        drawn, candidate = tables.RoundPrompt, tables.Candidate
        answered = exists().where(candidate.round_id == round_id, candidate.prompt_id == drawn.prompt_id)
        with self.reading() as session:
            found = session.scalars(
                select(tables.Prompt)
                .join(drawn, drawn.prompt_id == tables.Prompt.id)
                .where(drawn.round_id == round_id, drawn.purpose == "train", drawn.set_aside_reason.is_(None))
                .where(~answered)
                .order_by(drawn.position)
            )
            return [prompt_record(row) for row in found]

    def add_candidates(
        self, round_id: int, candidates: Sequence[records.Candidate], sampling: dict[str, object] | None = None
    ) -> None:
        """Add answers to prompts that the round drew, all or none; an id that is there already is left as it is.

        Add all answers to one prompt at once: a prompt with any candidates counts as answered.

        Raises:
            LeaseLost: the round is closed.
            ValueError: an id belongs to another round, so these answers would be lost: the id must hash the round.
        """
        with self.writing() as session:
            require_open(session, round_id)
            rows = [_row(round_id, candidate, sampling) for candidate in candidates]
            insert_new(session, tables.Candidate, rows, tables.Candidate.id)
            for part in in_parts([candidate.id for candidate in candidates]):
                elsewhere = (tables.Candidate.id.in_(part), tables.Candidate.round_id != round_id)
                if taken := session.scalar(select(tables.Candidate.id).where(*elsewhere).limit(1)):
                    raise ValueError(f"the candidate id {taken} belongs to another round")

    def candidates(self, round_id: int, prompt_ids: Sequence[str] | None = None) -> dict[str, list[records.Candidate]]:
        """The answers to the round's train prompts (or to those named), by prompt id; prompts and answers in order."""
        drawn, candidate = tables.RoundPrompt, tables.Candidate
        mine = (drawn.round_id == candidate.round_id, drawn.prompt_id == candidate.prompt_id)
        with self.reading() as session:
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

    def candidates_by_id(self, ids: Sequence[str]) -> dict[str, records.Candidate]:
        """Those of the given ids that the store knows, of any round and purpose."""
        with self.reading() as session:
            return {
                row.id: candidate_record(row)
                for part in in_parts(ids)
                for row in session.scalars(select(tables.Candidate).where(tables.Candidate.id.in_(part)))
            }


def candidate_record(row: tables.Candidate) -> records.Candidate:
    """The value of a row."""
    return records.Candidate(
        id=row.id,
        prompt_id=row.prompt_id,
        position=row.position,
        text=row.text,
        token_ids=tuple(row.token_ids),
        logprob_sum=row.logprob_sum,
        finish_reason=cast(Literal["stop", "length"], row.finish_reason),  # the table takes no other
        adapter_id=row.adapter_id,
    )


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
    }
