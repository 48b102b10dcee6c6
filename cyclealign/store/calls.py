"""Judge calls with their whole requests and replies: an answered request is never sent, or paid for, again."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Compiled, Dialect, bindparam, case, func, select, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import UnstorableRow
from cyclealign.store.repository import Repository
from cyclealign.store.statements import experiment_named, experiment_of, insert_for, insert_new, now
from cyclealign.store.totals import call_totals, lock_for_calls, write_call_totals

_PAID = (
    *("prompt_tokens", "cached_prompt_tokens", "completion_tokens", "cost_usd", "seconds"),
    *("estimated_tokens", "estimated_usd"),
)
_OWNER = ("round_id", "purpose")
ANSWERED = text("judge_call.status = 'answered'")  # as in the indexes: a parameter would keep SQLite from using them


class CallStore(Repository):
    """Judge calls, one row per experiment and request."""

    def reply(self, experiment: str, key: str) -> records.Reply | None:
        """Return the reply to this request that any round of the experiment recorded; failures are ignored.

        Tokens, cost and seconds include those of failed attempts.
        """
        call = tables.JudgeCall
        with self._database.reading() as session:
            mine = call.experiment_id == experiment_named(experiment)
            row = session.scalar(select(call).where(mine, call.key == key, call.status == "answered"))
            return None if row is None else _reply_record(row)

    def answered_keys(self, experiment: str) -> frozenset[str]:
        """Return the keys of all requests that were answered in any round of the experiment."""
        call = tables.JudgeCall
        # Keys are hexadecimal digits. One text is read ten times as fast as a row for each key.
        mine = call.experiment_id == experiment_named(experiment)
        joined = select(func.aggregate_strings(call.key, ",")).where(mine, ANSWERED)
        with self._database.reading() as session:
            keys = session.scalar(joined)
            return frozenset(keys.split(",") if keys else ())

    def shared_reply(self, key: str) -> records.Reply | None:
        """Return the first reply to this request in any experiment, at no cost."""
        call = tables.JudgeCall
        with self._database.reading() as session:
            # No ORDER BY with LIMIT: PostgreSQL would read all calls in the order of their ids up to the first match.
            rows = session.scalars(select(call).where(call.key == key, ANSWERED)).all()
            return _free(_reply_record(min(rows, key=lambda row: row.id))) if rows else None

    def answered(self, round_id: int, purpose: records.CallPurpose) -> list[tuple[records.JudgeCall, records.Reply]]:
        """Return the answered calls of this purpose in the round with their replies, sorted by key."""
        call = tables.JudgeCall
        found = select(call).where(call.round_id == round_id, call.purpose == purpose, call.status == "answered")
        with self._database.reading() as session:
            return [(_call_record(row), _reply_record(row)) for row in session.scalars(found.order_by(call.key))]

    def ranking_calls(
        self, round_ids: Sequence[int], model: str, template_hash: str
    ) -> list[tuple[records.JudgeCall, records.Reply]]:
        """Return the answered rankings of several rounds by one judge and template version, sorted by key."""
        call = tables.JudgeCall
        found = select(call).where(
            call.round_id.in_(round_ids),
            call.purpose == "rank",
            call.status == "answered",
            call.model == model,
            call.template_hash == template_hash,
        )
        with self._database.reading() as session:
            return [(_call_record(row), _reply_record(row)) for row in session.scalars(found.order_by(call.key))]

    def spending(self, experiment: str, round_id: int | None = None) -> records.Spending:
        """Return the cost of judge calls of the experiment or one of its rounds, with failed and rejudging calls."""
        mine = [tables.Round.experiment_id == experiment_named(experiment)]
        total = call_totals(*mine, *([] if round_id is None else [tables.Round.id == round_id])).c
        sums = [total.attempts, total.prompt_tokens + total.completion_tokens, total.cost_usd]
        with self._database.reading() as session:
            calls, tokens, usd = session.execute(select(*(func.coalesce(func.sum(each), 0) for each in sums))).one()
            return records.Spending(int(calls), int(tokens), float(usd))

    def prompt_token_counts(self, model: str, limit: int = 200) -> list[tuple[int, int]]:
        """Return (characters sent, prompt tokens) of the newest requests that the model answered at first attempt."""
        call = tables.JudgeCall
        found = (
            select(call.messages, call.prompt_tokens)
            .where(call.model == model, call.status == "answered", call.attempts == 1, call.prompt_tokens > 0)
            .where(call.estimated_tokens == 0)
            .order_by(call.id.desc())
            .limit(limit)
        )
        with self._database.reading() as session:
            return [(sum(len(each["content"]) for each in sent), tokens) for sent, tokens in session.execute(found)]

    def record(self, round_id: int, outcomes: Sequence[records.CallOutcome]) -> None:
        """Record the outcomes of distinct calls, all or none.

        A reply replaces an earlier failure of the same request; nothing replaces a reply. The cost is recorded even if
        the round is closed. A request that rejudging repeats stays with the round that sent it first.

        Raises:
            UnstorableRow: a value of one of them cannot be stored.
        """
        try:
            with self._database.writing(durable=True) as session:
                keys = [outcome.call.key for outcome in outcomes]
                closed = lock_for_calls(session, round_id, experiment_of(round_id), keys)
                _record(session, round_id, outcomes)
                write_call_totals(session, closed)
        except (DataError, OverflowError) as error:
            raise UnstorableRow(str(getattr(error, "orig", error))) from None

    def record_reply(self, round_id: int, call: records.JudgeCall, reply: records.Reply) -> None:
        """Record one reply."""
        self.record(round_id, [records.CallOutcome(call, reply)])

    def record_failure(
        self, round_id: int, call: records.JudgeCall, error: str, reply: records.Reply | None = None
    ) -> None:
        """Record a failed request and its error; ``reply`` is a paid reply that cannot be used."""
        self.record(round_id, [records.CallOutcome(call, reply, error)])

    def record_parse_problems(self, round_id: int, problems: Mapping[str, str]) -> None:
        """Record why replies could not be parsed, by key of the call; calls without a stored reply are skipped."""
        call = tables.JudgeCall
        with self._database.writing() as session:
            found = session.execute(
                select(call.key, call.id).where(
                    call.experiment_id == experiment_of(round_id),
                    call.status == "answered",
                    call.key.in_(list(problems)),
                )
            )
            rows = [{"judge_call_id": id_, "problem": problems[key]} for key, id_ in found]
            insert_new(session, tables.ReplyProblem, rows, tables.ReplyProblem.judge_call_id)


def _record(session: Session, round_id: int, outcomes: Sequence[records.CallOutcome]) -> None:
    rows = [_outcome_row(round_id, outcome) for outcome in outcomes]
    if rows:
        dialect = session.get_bind().dialect
        statement: Any = _compiled(dialect, tuple(rows[0]))
        session.connection().execute(statement, [{**row, "its_round": round_id} for row in rows])


@lru_cache(maxsize=4)
def _compiled(dialect: Dialect, columns: tuple[str, ...]) -> Compiled:
    """Return the statement that records calls, compiled.

    SQLAlchemy caches no INSERT with ON CONFLICT, and compiling it takes four times as long as running it.
    """
    its_experiment = select(tables.Round.experiment_id).where(tables.Round.id == bindparam("its_round"))
    made = insert_for(dialect, tables.JudgeCall).values(experiment_id=its_experiment.scalar_subquery())
    old, new = tables.JudgeCall, made.excluded
    summed = ("attempts", *_PAID)
    changed: dict[str, Any] = {name: new[name] for name in columns if name not in ("key", "asked_at", *summed)}
    for name in _OWNER:
        changed[name] = case((new["purpose"] == "rejudge", getattr(old, name)), else_=new[name])
    spent = {name: getattr(old, name) + new[name] for name in summed}
    statement = made.on_conflict_do_update(
        index_elements=[old.experiment_id, old.key], set_={**changed, **spent}, where=old.status == "failed"
    )
    # inline: PostgreSQL would else be asked for the ids of the rows, which it gives for one row at a time only.
    return statement.inline().compile(dialect=dialect, column_keys=list(columns))


def _outcome_row(round_id: int, outcome: records.CallOutcome) -> dict[str, Any]:
    answered = outcome.error is None
    return {
        **_call_row(round_id, outcome.call),
        **_reply_row(outcome.reply),
        "status": "answered" if answered else "failed",
        "error": outcome.error,
        "attempts": outcome.requests,
        "asked_at": now(),
        "answered_at": now() if answered else None,
    }


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


def _call_record(row: tables.JudgeCall) -> records.JudgeCall:
    return records.JudgeCall(
        purpose=cast(records.CallPurpose, row.purpose),
        subject_id=row.subject_id,
        model=row.model,
        template_hash=row.template_hash,
        messages=tuple(records.Message(role=each["role"], content=each["content"]) for each in row.messages),
        shown=tuple((label, item) for label, item in row.shown),
        parameters=tuple(row.parameters.items()),
    )


def _reply_row(reply: records.Reply | None) -> dict[str, Any]:
    if reply is None:
        return {"reply": None, "returned_model": None, "finish_reason": None, **dict.fromkeys(_PAID, 0)}
    return {
        "reply": reply.text,
        "returned_model": reply.model,
        "prompt_tokens": reply.prompt_tokens,
        "cached_prompt_tokens": reply.cached_prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost_usd": reply.cost_usd,
        "seconds": reply.seconds,
        "estimated_tokens": reply.estimated_tokens,
        "estimated_usd": reply.estimated_usd,
        "finish_reason": reply.finish_reason or None,
    }


def _free(reply: records.Reply) -> records.Reply:
    reason = reply.finish_reason
    return records.Reply(reply.text, reply.model, 0, 0, cost_usd=0.0, seconds=0.0, finish_reason=reason)


def _reply_record(row: tables.JudgeCall) -> records.Reply:
    return records.Reply(
        text=str(row.reply),
        model=str(row.returned_model),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_usd=row.cost_usd,
        seconds=row.seconds,
        cached_prompt_tokens=row.cached_prompt_tokens,
        estimated_tokens=row.estimated_tokens,
        estimated_usd=row.estimated_usd,
        finish_reason=row.finish_reason or "",
    )


def read_problems(session: Session, round_id: int) -> list[dict[str, Any]]:
    """Return the replies of the round that could not be parsed, with the problem of each."""
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
