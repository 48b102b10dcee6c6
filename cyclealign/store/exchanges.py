"""The judge's exchanges about one prompt of a round: whole requests and replies."""

from typing import Any

from sqlalchemy import select

from cyclealign import tables
from cyclealign.store.database import Database
from cyclealign.store.history import plain, require_round

Values = dict[str, Any]
_OF_A_CALL = (
    *("purpose", "status", "model", "returned_model", "template_hash", "parameters", "messages", "shown"),
    *("reply", "error", "finish_reason", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds"),
    *("asked_at", "answered_at"),
)


class ExchangeStore:
    """Judge calls as people read them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def about_prompt(self, experiment: str, number: int, prompt_id: str) -> list[Values]:
        """Return all calls about a prompt that a round sent first, in the order sent.

        Each has the columns of ``judge_call``, and ``problem``: why its reply could not be parsed, or None. ``shown``
        are pairs of a label and the id of the answer that it stood for.

        Raises:
            NoSuchExperiment: there is no such experiment or round.
        """
        call, problem = tables.JudgeCall, tables.ReplyProblem
        with self._database.reading() as session:
            round_id = require_round(session, experiment, number)
            found = session.execute(
                select(call, problem.problem)
                .outerjoin(problem, problem.judge_call_id == call.id)
                .where(call.round_id == round_id, call.subject_id == prompt_id)
                .order_by(call.asked_at, call.id)
            )
            return [
                {**plain({name: getattr(row, name) for name in _OF_A_CALL}), "problem": words} for row, words in found
            ]
