"""Every judge call whole: a question that was answered is never asked, or paid, again."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.writing import experiment_of, insert, now

_PAID = ("prompt_tokens", "completion_tokens", "cost_usd", "seconds")


class CallMemory(Database):
    """The part of the store that logs judge calls, one row per experiment and request."""

    def answered(self, experiment: str, key: str) -> records.Reply | None:
        """The reply to this request, if one was recorded in any round of the experiment; a failure is no reply.

        Tokens, money and seconds are those of all attempts at it.
        """
        call = tables.JudgeCall
        with self.reading() as session:
            row = session.scalar(
                select(call)
                .join(tables.Experiment, tables.Experiment.id == call.experiment_id)
                .where(tables.Experiment.name == experiment, call.key == key, call.status == "answered")
            )
            return None if row is None else _reply_record(row)

    def record_reply(self, round_id: int, call: records.JudgeCall, reply: records.Reply) -> None:
        """Record a reply; it replaces an earlier failure of the same request, never an earlier reply.

        A paid reply is recorded whatever became of the round.
        """
        with self.writing() as session:
            _record(session, round_id, call, {"status": "answered", "answered_at": now(), **_reply_row(reply)})

    def record_failure(
        self, round_id: int, call: records.JudgeCall, error: str, reply: records.Reply | None = None
    ) -> None:
        """Record that a request failed and why; with ``reply``, that one came and was paid but cannot be read.

        A request that was answered before stays answered.
        """
        with self.writing() as session:
            _record(session, round_id, call, {"status": "failed", "error": error, **_reply_row(reply)})


def _record(session: Session, round_id: int, call: records.JudgeCall, outcome: dict[str, Any]) -> None:
    asked = {**_call_row(round_id, call), "error": None, "answered_at": None, **outcome}
    statement = insert(session, tables.JudgeCall).values(
        experiment_id=experiment_of(round_id), attempts=1, asked_at=now(), **asked
    )
    old, new = tables.JudgeCall, statement.excluded
    changed = {name: new[name] for name in asked if name not in ("key", *_PAID)}
    spent = {name: getattr(old, name) + new[name] for name in _PAID}
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[old.experiment_id, old.key],
            set_={**changed, **spent, "attempts": old.attempts + 1},
            where=old.status == "failed",
        )
    )


def _call_row(round_id: int, call: records.JudgeCall) -> dict[str, Any]:
    return {
        "round_id": round_id,
        "purpose": call.purpose,
        "subject_id": call.subject_id,
        "key": call.key,
        "model": call.model,
        "template_hash": call.template_hash,
        "messages": list(call.messages),
        "shown": [list(pair) for pair in call.shown],
        "parameters": dict(call.parameters),
    }


def _reply_row(reply: records.Reply | None) -> dict[str, Any]:
    if reply is None:
        return {"reply": None, "returned_model": None, **dict.fromkeys(_PAID, 0)}
    return {
        "reply": reply.text,
        "returned_model": reply.model,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost_usd": reply.cost_usd,
        "seconds": reply.seconds,
    }


def _reply_record(row: tables.JudgeCall) -> records.Reply:
    return records.Reply(
        text=str(row.reply),
        model=str(row.returned_model),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_usd=row.cost_usd,
        seconds=row.seconds,
    )
