"""One connection to a chat API, by direct calls or through the provider's batch API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cyclealign.chat_api.batch import BatchClient, BatchLog
from cyclealign.chat_api.client import Complete, JudgeClient
from cyclealign.chat_api.prices import Price
from cyclealign.config import JudgeSettings


@asynccontextmanager
async def connect(
    settings: JudgeSettings, base_url: str | None, api_key: str, price: Price, batches: BatchLog
) -> AsyncIterator[Complete]:
    """Yield the function that sends one call, as ``settings.delivery`` asks. Use inside one event loop.

    Args:
        base_url: None: the openai library's default.
        price: per million tokens; priced into each reply.
        batches: record of submitted batches; unused by direct delivery.
    """
    async with JudgeClient(settings, base_url, api_key, price) as client:
        if settings.delivery == "direct":
            yield client.complete
            return
        async with BatchClient(client, batches, settings) as batch_client:
            yield batch_client.complete
