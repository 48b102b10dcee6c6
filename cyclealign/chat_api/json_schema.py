"""Structured output: replies constrained by a JSON schema if the endpoint supports it.

Support is detected by the first call and remembered.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from cyclealign.chat_api.client import Complete
from cyclealign.errors import RequestRefused
from cyclealign.records import JudgeCall, Reply

logger = logging.getLogger(__name__)


def reply_format(labels: Sequence[str], reasons: bool) -> dict[str, object]:
    """Return the ``response_format`` for a ranking of exactly these labels.

    The schema does not say that each label occurs once; the reply parser checks it. Many back ends ignore or refuse
    the keywords for it (``uniqueItems``, array lengths).
    """
    properties: dict[str, object] = {}
    if reasons:
        by_label: dict[str, object] = {label: {"type": "string"} for label in labels}
        properties["reasons"] = _object(by_label)
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
    """A `Complete` that requests replies by schema if the endpoint supports it.

    Args:
        complete: sends one request.
        supported: whether the endpoint supports a schema; None: unknown, so the first call detects it.
        record_support: stores the detected support.
        reasons: whether replies contain reasons.
    """

    def __init__(
        self, complete: Complete, supported: bool | None, record_support: Callable[[bool], None], reasons: bool = False
    ) -> None:
        self._complete, self._supported, self._record_support = complete, supported, record_support
        self._reasons = reasons
        self._detecting = asyncio.Lock()

    async def __call__(self, call: JudgeCall) -> Reply:
        """Send the call; twice if the endpoint refuses the schema, which costs nothing."""
        if self._supported is None:
            async with self._detecting:
                if self._supported is None:
                    return await self._detect(call)
        if not self._supported:
            return await self._complete(call)
        try:
            return await self._complete(self._with_schema(call))
        except RequestRefused as error:
            if error.parameter != "response_format":
                raise
        # It supported schemas when it was first asked, under the same address and name.
        reply = await self._complete(call)
        await self._learn(False)
        return reply

    async def _detect(self, call: JudgeCall) -> Reply:
        try:
            reply = await self._complete(self._with_schema(call))
            supported = True
        except RequestRefused:
            # If the plain call is refused as well, the schema was not the reason: support stays unknown.
            reply = await self._complete(call)
            supported = False
        await self._learn(supported)
        return reply

    async def _learn(self, supported: bool) -> None:
        if supported != self._supported:
            self._supported = supported
            await asyncio.to_thread(self._record_support, supported)
            if not supported:
                logger.warning("The judge's endpoint takes no JSON schema; replies are requested without one.")

    def _with_schema(self, call: JudgeCall) -> JudgeCall:
        return replace(call, reply_format=reply_format([label for label, _ in call.shown], self._reasons))
