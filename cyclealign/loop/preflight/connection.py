"""A connection to the judge outside a round, by the same client: what it sends is charged to no round."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.judge_contact import JudgeContact
from cyclealign.config import ExperimentConfig
from cyclealign.loop.backends import backend_of, known_price
from cyclealign.loop.judge_session import by_parameters, by_schema
from cyclealign.records import Batch
from cyclealign.store import Store


class NoBatches:
    """The record of batches of a connection that submits none."""

    def begin(self, token: str, keys: Sequence[str]) -> None:
        """Do nothing."""

    def set_id(self, token: str, batch_id: str) -> None:
        """Do nothing."""

    def end(self, token: str) -> None:
        """Do nothing."""

    def pending(self) -> list[Batch]:
        """Return no batches."""
        return []


@asynccontextmanager
async def direct_connection(
    config: ExperimentConfig, store: Store, api_key: str, schema: bool = True
) -> AsyncIterator[Complete]:
    """Yield the function that sends one call as a round does, but directly even if the round sends batches.

    Args:
        schema: request replies that match a JSON schema, as the round's calls do.

    Raises:
        BadConfig: the price is needed and unknown, or the key cannot be sent.
        JudgeUnavailable: a local judge did not start.
    """
    judge, price = config.judge.model_copy(update={"delivery": "direct"}), known_price(config)
    with backend_of(judge).start() as base_url:
        async with backend_of(judge).connect(base_url, api_key, price, NoBatches()) as complete:
            complete = by_parameters(judge, store, base_url, complete, JudgeContact())
            yield by_schema(judge, store, base_url, complete) if schema else complete
