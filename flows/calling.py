"""Where a round's questions go: memory first, then the budget, the limits and the judge; every outcome is stored."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cyclealign.asking import Asker, Asking, Manners
from cyclealign.budget import Budget, Expectation
from cyclealign.bulk import MOST_CALLS, Bulk
from cyclealign.clients import Complete, JudgeClient
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.limits import Gate
from cyclealign.prices import Price, price_of
from cyclealign.recording import Recorder
from cyclealign.records import Batch, JudgeCall, Outcome, Reply, Round
from cyclealign.store import Store
from cyclealign.structured import Structured
from flows.keys import api_key
from flows.pace import pace_of

if TYPE_CHECKING:
    from flows.workshop import Workshop

logger = logging.getLogger(__name__)


@asynccontextmanager
async def judge_of(shop: "Workshop", round_: Round) -> AsyncIterator[Asker]:
    """The asker of a round: stored replies cost nothing, new ones are stored before they are passed on.

    The judge is looked for at the first question that has no stored reply.
    """
    judge, store = shop.config.judge, shop.store
    price = known_price(shop.config)
    async with AsyncExitStack() as tools:
        recorder = Recorder[Outcome](lambda outcomes: store.calls.record(round_.id, outcomes))
        await tools.enter_async_context(recorder)
        memory = Memory(store, round_, judge.share_replies)
        manners = Manners(
            gate=Gate(calls_at_once(judge)),
            pace=pace_of(judge),
            retries=judge.retries,
            backoff_seconds=judge.backoff_seconds,
            max_busy_seconds=judge.max_busy_seconds,
            expectation=Expectation(price, price.batch if judge.delivery == "batch" else 1.0),
            budget=budget_of(shop.config, store, round_),
        )
        yield Asking(when_wanted(shop, round_, price, tools), manners, memory.recall, recorder.record)


def when_wanted(shop: "Workshop", round_: Round, price: Price, tools: AsyncExitStack) -> Complete:
    """A client that is made at the first call: a round whose replies are all stored needs no judge, and no key."""
    judge = shop.config.judge
    ready: Complete | None = None
    making = asyncio.Lock()

    async def make() -> Complete:
        key = await asyncio.to_thread(api_key, judge)
        client = await tools.enter_async_context(JudgeClient(judge, shop.judge_address, key, price))
        if judge.delivery == "direct":
            return by_schema(shop, client.complete)
        bulk = Bulk(client, RoundLedger(shop.store, round_), judge.batch_window_seconds, judge.batch_poll_seconds)
        return by_schema(shop, (await tools.enter_async_context(bulk)).complete)

    async def complete(call: JudgeCall) -> Reply:
        nonlocal ready
        if ready is None:
            async with making:
                ready = ready or await make()
        return await ready(call)

    return complete


def by_schema(shop: "Workshop", complete: Complete) -> Complete:
    """The same, with replies held to a JSON schema if the settings want it and the endpoint takes it."""
    judge, store, address = shop.config.judge, shop.store, shop.judge_address or ""
    if not judge.structured:
        return complete
    if judge.kind == "simulated" and not judge.base_url:
        address = "simulated"  # its port is another one each time
    endpoints = store.endpoints
    known = endpoints.accepts_json_schema(address, judge.model)
    if known is None and judge.delivery == "batch":
        return complete  # to find it out would take a batch of one call
    return Structured(
        complete, known, lambda taken: endpoints.record_json_schema(address, judge.model, taken), judge.reasons
    )


class RoundLedger:
    """The batches of a round's experiment, in the database."""

    def __init__(self, store: Store, round_: Round) -> None:
        self._store, self._round = store, round_
        self.name, self.end = store.batches.set_id, store.batches.end

    def begin(self, token: str, keys: Sequence[str]) -> None:
        """These calls are about to be submitted."""
        self._store.batches.begin(self._round.id, token, keys)

    def open(self) -> list[Batch]:
        """What has begun and not ended."""
        return self._store.batches.pending(self._round.experiment)


def calls_at_once(judge: JudgeSettings) -> int:
    """How many calls may be under way; those in a batch do not hurry anybody."""
    return judge.concurrency if judge.delivery == "direct" else MOST_CALLS


class Memory:
    """The replies that are stored: one question to the database at the beginning, then only for what is there."""

    def __init__(self, store: Store, round_: Round, share: bool) -> None:
        self._store, self._round, self._share = store, round_, share
        self._answered = store.calls.answered_keys(round_.experiment)

    def recall(self, call: JudgeCall) -> Reply | None:
        """The stored reply of this experiment; of any, where they are shared. One of another is noted as taken over."""
        if call.key in self._answered:
            return self._store.calls.reply(self._round.experiment, call.key)
        if not self._share or (reply := self._store.calls.shared_reply(call.key)) is None:
            return None
        self._store.calls.record(self._round.id, [Outcome(call, reply, requests=0)])
        return reply


def known_price(config: ExperimentConfig) -> Price:
    """The price of the judge's model.

    Raises:
        BadConfig: nobody knows it, and there is a budget of money.
    """
    price = price_of(config.judge, prices_file(config.judge))
    if price is not None:
        return price
    if config.budget.usd is not None:
        raise BadConfig(
            f"budget.usd is set, and nobody knows what '{config.judge.model}' costs. Add it to {config.judge.prices}, "
            "or set judge.usd_per_million_prompt_tokens and judge.usd_per_million_completion_tokens."
        )
    return no_price(config.judge.model, config.judge.prices)


@lru_cache
def no_price(model: str, file: str) -> Price:
    """Free, and a warning: once a process, not for each look at the price."""
    logger.warning("No price for '%s' in %s: its calls are counted as free.", model, file)
    return Price()


def prices_file(judge: JudgeSettings) -> Path:
    """The table of prices; the one that comes with this checkout where the default is not in the current folder."""
    given = Path(judge.prices)
    shipped = Path(__file__).parents[1] / given.name
    is_default = judge.prices == JudgeSettings.model_fields["prices"].default
    return shipped if is_default and not given.exists() else given


def budget_of(config: ExperimentConfig, store: Store, round_: Round) -> Budget:
    """The budget, less what has been spent."""
    only = round_.id if config.budget.scope == "round" else None
    return Budget(config.budget, store.calls.spending(round_.experiment, only))
