"""The judge of a round: stored replies first, then budget, limits and the judge; every outcome is stored."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import lru_cache

from cyclealign.chat_api.batch_api import MAX_CALLS_PER_BATCH
from cyclealign.chat_api.budget import Budget, CostEstimator
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.group_commit import GroupCommitter
from cyclealign.chat_api.json_schema import JsonSchemaClient
from cyclealign.chat_api.judge_contact import JudgeContact
from cyclealign.chat_api.parameters import INSTEAD, ParameterClient
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import AskJudge, CallLimits, CallScheduler
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.loop.backends import backend_of, known_price
from cyclealign.loop.lease import KeptLease
from cyclealign.loop.ports import Ports
from cyclealign.records import Batch, CallOutcome, JudgeCall, Reply, Round
from cyclealign.store import Store

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_judge(
    config: ExperimentConfig,
    store: Store,
    ports: Ports,
    address: Callable[[], str | None],
    round_: Round,
    contact: JudgeContact | None = None,
    lease: KeptLease | None = None,
) -> AsyncIterator[AskJudge]:
    """Yield the function that asks the round's judge: stored replies are free, new ones are stored before they return.

    Args:
        address: returns the judge's base URL and may start the judge; called before the first call without a stored
            reply, as is ``ports.api_key``: a round whose replies are all stored needs no judge and no key.
        contact: the judge's answers to the run so far; None: none yet.
        lease: of the round, required before each request; None: not checked.
    """
    judge, price, contact = config.judge, known_price(config), contact or JudgeContact()
    async with AsyncExitStack() as tools:
        recorder = GroupCommitter[CallOutcome](lambda outcomes: store.calls.record(round_.id, outcomes))
        await tools.enter_async_context(recorder)
        stored = StoredReplies(store, round_, judge.share_replies)
        limits = CallLimits(
            concurrency=ConcurrencyLimiter(max_concurrent_calls(judge)),
            rate_limiter=ports.rate_limiter(judge),
            retries=judge.retries,
            backoff_seconds=judge.backoff_seconds,
            max_busy_seconds=judge.max_busy_seconds,
            cost_estimator=CostEstimator(price, price.batch if judge.delivery == "batch" else 1.0),
            budget=remaining_budget(config, store, round_),
            contact=contact,
        )

        async def connect() -> Complete:
            key = await asyncio.to_thread(ports.api_key, judge)
            base_url = address()
            connection = backend_of(judge).connect(base_url, key, price, RoundBatchLog(store, round_))
            complete = await tools.enter_async_context(connection)
            return by_schema(judge, store, base_url, by_parameters(judge, store, base_url, complete, contact))

        yield CallScheduler(while_leased(at_first_call(connect), lease), limits, stored.reply, recorder.record)


def at_first_call(connect: Callable[[], Awaitable[Complete]]) -> Complete:
    """Return a function that connects once, at its first call, and then passes the calls on."""
    ready: Complete | None = None
    connecting = asyncio.Lock()

    async def complete(call: JudgeCall) -> Reply:
        nonlocal ready
        if ready is None:
            async with connecting:
                ready = ready or await connect()
        return await ready(call)

    return complete


def while_leased(complete: Complete, lease: KeptLease | None) -> Complete:
    """Return ``complete`` that sends nothing once another run has taken the round over.

    A run that was stopped past its lease would else pay for replies that its successor has had already.
    """
    if lease is None:
        return complete

    async def leased(call: JudgeCall) -> Reply:
        if lease.is_due:
            await asyncio.to_thread(lease.require)
        return await complete(call)

    return leased


def by_parameters(
    judge: JudgeSettings, store: Store, base_url: str | None, complete: Complete, contact: JudgeContact
) -> Complete:
    """Return ``complete`` without the request parameters that the endpoint is known, or found, to refuse."""
    endpoint = backend_of(judge).endpoint(base_url)
    known = store.endpoints.refused_parameters(endpoint, judge.model)
    for parameter in sorted(known & INSTEAD.keys()):
        _announce_refusal(judge.model, parameter)
    return ParameterClient(
        complete,
        known,
        lambda parameter, words: store.endpoints.record_refusal(endpoint, judge.model, parameter, words),
        one_first=judge.delivery == "direct" and not contact.answered,
    )


@lru_cache  # once per process, not in each step of a round
def _announce_refusal(model: str, parameter: str) -> None:
    logger.info("The endpoint of '%s' is known to refuse %s: %s.", model, parameter, INSTEAD[parameter])


def by_schema(judge: JudgeSettings, store: Store, base_url: str | None, complete: Complete) -> Complete:
    """Return ``complete`` with a JSON schema for each reply, if the settings want it and the endpoint supports it."""
    if not judge.structured:
        return complete
    endpoints, endpoint = store.endpoints, backend_of(judge).endpoint(base_url)
    known = endpoints.accepts_json_schema(endpoint, judge.model)
    if known is None and judge.delivery == "batch":
        return complete  # finding out would take a batch of a single call
    return JsonSchemaClient(
        complete, known, lambda supported: endpoints.record_json_schema(endpoint, judge.model, supported), judge.reasons
    )


class RoundBatchLog:
    """The batches of the round's experiment, in the database."""

    def __init__(self, store: Store, round_: Round) -> None:
        self._store, self._round = store, round_
        self.set_id, self.end = store.batches.set_id, store.batches.end

    def begin(self, token: str, keys: Sequence[str]) -> None:
        """Record that the calls with these keys are about to be submitted."""
        self._store.batches.begin(self._round.id, token, keys)

    def pending(self) -> list[Batch]:
        """Return the batches that have begun and not ended, with the keys of the calls whose replies are not stored.

        Batches whose replies are all stored are ended.
        """
        batches = self._store.batches.pending(self._round.experiment)
        answered = self._store.calls.answered_keys(self._round.experiment) if batches else frozenset()
        left = [replace(batch, keys=tuple(key for key in batch.keys if key not in answered)) for batch in batches]
        for batch in left:
            if not batch.keys:
                self.end(batch.token)
        return [batch for batch in left if batch.keys]


def max_concurrent_calls(judge: JudgeSettings) -> int:
    """Return the maximum number of pending calls; a batch waits for no free connection."""
    return judge.concurrency if judge.delivery == "direct" else MAX_CALLS_PER_BATCH


class StoredReplies:
    """The stored replies of an experiment. Reads the keys once, then only replies that exist.

    The limit of a reply's length is part of a request's key and may change while a round is open. Replies under the
    round's former limits stand, unless the limit cut them off.
    """

    def __init__(self, store: Store, round_: Round, share: bool) -> None:
        self._store, self._round, self._share = store, round_, share
        self._answered = store.calls.answered_keys(round_.experiment)
        changes = store.changes.of_round(round_.id)
        self._former_limits = {change.before for change in changes if change.setting == "judge.max_tokens"}

    def reply(self, call: JudgeCall) -> Reply | None:
        """Return the stored reply to the same request, or None.

        If replies are shared, one of another experiment is copied to this round, as a call without requests.
        """
        if call.key in self._answered:
            return self._store.calls.reply(self._round.experiment, call.key)
        if (reply := self._reply_under_former_limit(call)) is not None:
            return reply
        if not self._share or (reply := self._store.calls.shared_reply(call.key)) is None:
            return None
        self._store.calls.record(self._round.id, [CallOutcome(call, reply, requests=0)])
        return reply

    def _reply_under_former_limit(self, call: JudgeCall) -> Reply | None:
        for limit in self._former_limits:
            parameters = {**dict(call.parameters), "max_tokens": limit}
            key = replace(call, parameters=tuple(parameters.items())).key
            reply = self._store.calls.reply(self._round.experiment, key) if key in self._answered else None
            if reply is not None and not reply.cut:
                return reply
        return None


def remaining_budget(config: ExperimentConfig, store: Store, round_: Round) -> Budget:
    """Return the budget less the spending of the experiment or of the round, by its scope."""
    only = round_.id if config.budget.scope == "round" else None
    return Budget(config.budget, store.calls.spending(round_.experiment, only))
