"""Request parameters that an endpoint refuses: found out by its first refusal, which is free, and remembered."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from cyclealign.chat_api.client import Complete
from cyclealign.errors import JudgeCallFailed, RequestRefused
from cyclealign.records import JudgeCall, Reply

logger = logging.getLogger(__name__)

# By parameter: the form of later requests.
INSTEAD = {
    "max_tokens": "max_completion_tokens is sent instead",
    "temperature": "none is sent, and the provider's default applies",
    "reasoning_effort": "none is sent, and the provider's default applies",
}


class ParameterClient:
    """A `Complete` that sends no parameter which the endpoint refuses.

    Args:
        complete: sends one request.
        refused: parameters that are known to be refused.
        record_refusal: stores a refused parameter and the provider's words.
        one_first: whether calls wait for the first one to be accepted, so that each parameter is refused once only. A
            batch refuses all of its calls together.
    """

    def __init__(
        self,
        complete: Complete,
        refused: Iterable[str],
        record_refusal: Callable[[str, str], None],
        one_first: bool = True,
    ) -> None:
        self._complete, self._record_refusal = complete, record_refusal
        self._refused = frozenset(refused) & INSTEAD.keys()
        self._accepted = not one_first
        self._detecting = asyncio.Lock()

    async def __call__(self, call: JudgeCall) -> Reply:
        """Send the call; again without a parameter that the endpoint refuses."""
        if not self._accepted:
            async with self._detecting:
                if not self._accepted:
                    return await self._send(call)
        return await self._send(call)

    async def _send(self, call: JudgeCall) -> Reply:
        refusals: dict[str, str] = {}
        while True:
            try:
                reply = await self._complete(replace(call, refused=self._refused | refusals.keys()))
            except RequestRefused as error:
                parameter = error.parameter
                if parameter is None or not self._can_omit(parameter, call, refusals):
                    raise
                refusals[parameter] = str(error)
            except JudgeCallFailed as error:
                if error.paid is not None:
                    await self._learn(refusals)  # the request was accepted, whatever the reply
                raise
            else:
                await self._learn(refusals)
                return reply

    def _can_omit(self, parameter: str, call: JudgeCall, refusals: Iterable[str]) -> bool:
        """Return whether the call was sent with this parameter and may be sent without."""
        return parameter in INSTEAD and parameter in dict(call.parameters) and parameter not in (*refusals,)

    async def _learn(self, refusals: dict[str, str]) -> None:
        """Remember the refusals of a request that was then accepted: others may have had another reason."""
        self._accepted = True
        new = {parameter: words for parameter, words in refusals.items() if parameter not in self._refused}
        self._refused |= new.keys()
        for parameter, words in new.items():
            logger.warning("The judge's endpoint refuses %s: %s. (%s)", parameter, INSTEAD[parameter], words)
            await asyncio.to_thread(self._record_refusal, parameter, words)
