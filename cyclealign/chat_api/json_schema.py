"""Replies held to a JSON schema, where the endpoint can: found out at the first call, and remembered."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from cyclealign.chat_api.client import Complete
from cyclealign.errors import RequestRefused
from cyclealign.records import JudgeCall, Reply


def reply_format(labels: Sequence[str], reasons: bool) -> dict[str, object]:
    """The ``response_format`` of a ranking of exactly these labels.

    That each label comes once is checked when the reply is read: what says so in a schema (``uniqueItems``, lengths of
    arrays) is ignored or refused by many back ends.
    """
    properties: dict[str, object] = {}
    if reasons:
        said: dict[str, object] = {label: {"type": "string"} for label in labels}
        properties["reasons"] = _object(said)
    properties["ranking"] = {"type": "array", "items": {"type": "string", "enum": list(labels)}}
    schema = {"name": "ranking", "strict": True, "schema": _object(properties)}
    return {"type": "json_schema", "json_schema": schema}


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class JsonSchemaClient:
    """A `Complete` that asks for replies by schema as long as the endpoint takes it.

    Args:
        complete: asks the judge.
        taken: whether the endpoint takes a schema; None: nobody knows, so the first call finds out.
        note: told of what was found out.
        reasons: whether replies hold reasons.
    """

    def __init__(
        self, complete: Complete, taken: bool | None, note: Callable[[bool], None], reasons: bool = False
    ) -> None:
        self._complete, self._taken, self._note, self._reasons = complete, taken, note, reasons
        self._finding_out = asyncio.Lock()

    async def __call__(self, call: JudgeCall) -> Reply:
        """Ask once; twice if the endpoint refuses the schema, which it does without a price."""
        if self._taken is None:
            async with self._finding_out:
                if self._taken is None:
                    return await self._find_out(call)
        return await self._complete(self._by_schema(call) if self._taken else call)

    async def _find_out(self, call: JudgeCall) -> Reply:
        try:
            reply = await self._complete(self._by_schema(call))
            taken = True
        except RequestRefused:
            reply = await self._complete(call)  # refused too, it was not the schema: nothing is known yet
            taken = False
        await asyncio.to_thread(self._note, taken)
        self._taken = taken
        return reply

    def _by_schema(self, call: JudgeCall) -> JudgeCall:
        return replace(call, reply_format=reply_format([label for label, _ in call.shown], self._reasons))
