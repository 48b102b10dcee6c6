"""Asking the judge: many questions at once, each answered once. What follows a reply is up to the one who asks.

A question about one list is a coroutine that awaits an `Ask`; so a way of ranking may look at a reply before it asks
on, and lists need not wait for one another.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cyclealign.chat_api.budget import Budget, CostEstimator, spending_on
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter, NoRateLimit, RateLimiter
from cyclealign.config import BudgetSettings
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable
from cyclealign.records import JudgeCall, Outcome, Reply, Spending

T = TypeVar("T")
# The reply to a call; None where the call failed: it is never a verdict.
Ask = Callable[[JudgeCall], Awaitable[Reply | None]]
LONGEST_BACKOFF_SECONDS = 60.0


@dataclass
class CallLimits:
    """What an `CallScheduler` keeps to: how many calls at once, how fast, how often again, and at what cost."""

    gate: ConcurrencyLimiter
    pace: RateLimiter = field(default_factory=NoRateLimit)
    retries: int = 0
    backoff_seconds: float = 0.5
    max_busy_seconds: float = 600.0
    expectation: CostEstimator = field(default_factory=lambda: CostEstimator(Price()))
    budget: Budget = field(default_factory=lambda: Budget(BudgetSettings(), Spending()))


@dataclass
class _Attempts:
    """One call's history: requests sent, faults met, seconds of waiting for a busy judge, what was paid in vain."""

    requests: int = 0
    faults: int = 0
    busy_seconds: float = 0.0
    in_vain: Reply | None = None


class CallScheduler:
    """An `Ask` with a memory, and with manners; for use inside one event loop.

    Args:
        complete: asks the judge once.
        manners: what it keeps to.
        recall: the stored reply to a call, if there is one; it costs nothing.
        record: stores what became of a call. A reply is passed on only when it is stored, and until then counts as
            under way: so no more calls than are allowed at once can be lost to a kill.
    """

    def __init__(
        self,
        complete: Complete,
        manners: CallLimits,
        recall: Callable[[JudgeCall], Reply | None],
        record: Callable[[Outcome], Awaitable[None]],
    ) -> None:
        self._complete, self._manners, self._recall, self._record = complete, manners, recall, record
        self._asked: dict[str, asyncio.Future[Reply | None]] = {}
        self._gone: Exception | None = None

    async def __call__(self, call: JudgeCall) -> Reply | None:
        """The reply, or None where the call failed. The same request is asked once, however often it is made.

        Raises:
            JudgeUnavailable: no call can succeed; those under way are not cut off, since they will be paid for.
            BudgetReached: this call might cost more than is left; those under way go on to their end.
            StoreError: a reply could not be stored; no further ones are paid for.
        """
        if call.key not in self._asked:
            self._asked[call.key] = asyncio.ensure_future(self._answer(call))
        return await asyncio.shield(self._asked[call.key])

    async def _answer(self, call: JudgeCall) -> Reply | None:
        if (known := self._recall(call)) is not None:
            return known
        attempts = _Attempts()
        while True:
            entered = await self._manners.gate.enter()
            try:
                if self._gone:
                    raise self._gone
                return await self._attempt(call, attempts)
            except JudgeBusy as error:
                wait = self._put_off(attempts, error, entered)
            except JudgeFaltered:
                wait = self._backoff(attempts.faults - 1)
            except Exception as error:  # no call can succeed, may be made, or can be stored
                self._gone = error
                raise
            finally:
                self._manners.gate.leave()
            await asyncio.sleep(wait)

    async def _attempt(self, call: JudgeCall, attempts: _Attempts) -> Reply | None:
        """Ask once, and store what came of it.

        Raises:
            JudgeBusy, JudgeFaltered: it is to be asked again.
            Exception: nothing is to be asked any more.
        """
        try:
            reply = await self._paid_for(call, attempts)
        except JudgeBusy:
            raise
        except JudgeCallFailed as error:
            attempts.in_vain = added(attempts.in_vain, error.paid)
            attempts.faults += 1
            if isinstance(error, JudgeFaltered) and attempts.faults <= self._manners.retries:
                raise
            await self._record(Outcome(call, attempts.in_vain, str(error), attempts.requests))
            if isinstance(error, JudgeFaltered) and error.unreachable:
                raise JudgeUnavailable(str(error)) from None
            return None
        self._manners.gate.went_well()
        whole = added(attempts.in_vain, reply)
        assert whole is not None
        await self._record(Outcome(call, whole, None, attempts.requests))
        return whole

    async def _paid_for(self, call: JudgeCall, attempts: _Attempts) -> Reply:
        """One request, within budget and pace."""
        manners = self._manners
        expected = manners.expectation.of(call)
        await manners.budget.set_aside(expected)
        paid, sent = None, 0
        try:
            await manners.pace.take(expected.tokens)
            attempts.requests, sent = attempts.requests + 1, 1
            paid = await self._complete(call)
            return paid
        except JudgeCallFailed as error:
            paid = error.paid
            raise
        finally:
            actual = spending_on(paid, sent)
            manners.budget.settle(expected, actual)
            manners.pace.settle(actual.tokens - expected.tokens if paid else 0)
            if paid:
                manners.expectation.learn(call, paid)

    def _put_off(self, attempts: _Attempts, error: JudgeBusy, entered: float) -> float:
        """Seconds until the call may be made again; meanwhile nobody else makes one if the judge named a time."""
        wait = error.wait_seconds if error.wait_seconds is not None else self._backoff(attempts.requests - 1)
        attempts.busy_seconds += wait
        if attempts.busy_seconds > self._manners.max_busy_seconds:
            self._gone = JudgeUnavailable(
                f"The judge asks us to wait longer than judge.max_busy_seconds = {self._manners.max_busy_seconds:g}: "
                f"{error} Run again later, or lower judge.concurrency or judge.requests_per_minute."
            )
            raise self._gone from None
        self._manners.gate.too_much(entered, error.wait_seconds or 0.0)
        return wait

    def _backoff(self, number: int) -> float:
        """Doubled each time, and drawn at random so that calls that failed together do not come back together."""
        longest = min(LONGEST_BACKOFF_SECONDS, self._manners.backoff_seconds * 2.0**number)
        return longest * random.uniform(0.5, 1.0)


def added(paid: Reply | None, reply: Reply | None) -> Reply | None:
    """The reply with what was paid for an earlier attempt at the same call."""
    if paid is None or reply is None:
        return reply or paid
    return replace(
        reply,
        prompt_tokens=paid.prompt_tokens + reply.prompt_tokens,
        completion_tokens=paid.completion_tokens + reply.completion_tokens,
        cached_prompt_tokens=paid.cached_prompt_tokens + reply.cached_prompt_tokens,
        cost_usd=paid.cost_usd + reply.cost_usd,
        seconds=paid.seconds + reply.seconds,
    )


async def every(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """The results of ``jobs``, run together. An error is raised only when all have ended, so that none is cut off."""
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
