"""Concurrent judge calls: each request is sent once, retried, paid from the budget, and stored.

The ranking of one list is a coroutine that awaits an `AskJudge`, so a ranking method can use one reply before it
sends the next request, and lists do not wait for one another.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cyclealign.chat_api.attempts import MAX_LOST, Attempts, with_cost_of
from cyclealign.chat_api.budget import Budget, CostEstimator, max_reply_tokens, spending_of
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.judge_contact import JudgeContact
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter, NoRateLimit, RateLimiter
from cyclealign.config import BudgetSettings
from cyclealign.errors import (
    CallForbidden,
    JudgeBusy,
    JudgeCallFailed,
    JudgeFaltered,
    JudgeUnavailable,
    NothingToRead,
    UnstorableRow,
)
from cyclealign.records import CallOutcome, FailedCall, JudgeCall, Reply, Spending

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Returns the reply to a call, or its error if the call failed; a failed call never becomes a verdict.
AskJudge = Callable[[JudgeCall], Awaitable[Reply | FailedCall]]
MAX_BACKOFF_SECONDS = 60.0


@dataclass
class CallLimits:
    """Limits of a `CallScheduler`: concurrency, rate, retries, waiting and cost; ``contact`` is shared by a run."""

    concurrency: ConcurrencyLimiter
    rate_limiter: RateLimiter = field(default_factory=NoRateLimit)
    retries: int = 0
    backoff_seconds: float = 0.5
    max_busy_seconds: float = 600.0
    cost_estimator: CostEstimator = field(default_factory=lambda: CostEstimator(Price()))
    budget: Budget = field(default_factory=lambda: Budget(BudgetSettings(), Spending()))
    contact: JudgeContact = field(default_factory=JudgeContact)


class _Retry(Exception):
    """Send the call again after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class CallScheduler:
    """An `AskJudge` that recalls stored replies, keeps to limits and records each outcome. For one event loop.

    Args:
        complete: sends one request.
        limits: concurrency, rate, retries and budget.
        recall: returns the stored reply to a call, or None; recalled replies cost nothing.
        record: stores the outcome of a call. A reply is returned only once it is stored, and counts as in flight
            until then: a kill loses at most as many paid replies as there may be concurrent calls.
    """

    def __init__(
        self,
        complete: Complete,
        limits: CallLimits,
        recall: Callable[[JudgeCall], Reply | None],
        record: Callable[[CallOutcome], Awaitable[None]],
    ) -> None:
        self._complete, self._limits, self._recall, self._record = complete, limits, recall, record
        self._replies: dict[str, asyncio.Future[Reply | FailedCall]] = {}
        self._stop_error: Exception | None = None

    async def __call__(self, call: JudgeCall) -> Reply | FailedCall:
        """Return the reply, or the error if the call failed. Identical requests share one call.

        Raises:
            JudgeUnavailable: no call can succeed. Calls in flight finish, since they are paid for.
            BudgetReached: this call might exceed the budget. Calls in flight finish.
            StoreError: a reply could not be stored; no further calls are sent.
        """
        if call.key not in self._replies:
            self._replies[call.key] = asyncio.ensure_future(self._answer(call))
        # Shielded: a cancelled caller must not cancel the call for the others that await it.
        return await asyncio.shield(self._replies[call.key])

    async def _answer(self, call: JudgeCall) -> Reply | FailedCall:
        if (stored := self._recall(call)) is not None:
            return stored
        attempts = Attempts()
        while True:
            entered = await self._limits.concurrency.acquire()
            try:
                if self._stop_error:
                    raise self._stop_error
                return await self._attempt(call, attempts)
            except JudgeBusy as error:
                wait = self._busy_wait(attempts, error, entered)
            except _Retry as retry:
                wait = retry.seconds
            except Exception as error:  # no call can succeed, is allowed, or can be stored
                self._stop_error = error
                raise
            finally:
                self._limits.concurrency.release()
            await asyncio.sleep(wait)

    async def _attempt(self, call: JudgeCall, attempts: Attempts) -> Reply | FailedCall:
        """Send the call once and record the outcome.

        Raises:
            JudgeBusy, _Retry: send the call again.
            Exception: make no further calls.
        """
        try:
            reply = await self._send(call, attempts)
        except JudgeBusy:
            raise
        except JudgeCallFailed as error:
            attempts.count(error)
            if self._may_retry(call, attempts, error):
                raise _Retry(self._backoff(attempts.faults - 1)) from None
            failed = await self._store(CallOutcome(call, attempts.wasted, str(error), attempts.requests))
            self._stop_if_hopeless(call, error)
            return failed
        self._limits.concurrency.record_success()
        self._limits.contact.answered = True
        reply = with_cost_of(attempts.wasted, reply) or reply
        return await self._store(CallOutcome(call, reply, None, attempts.requests))

    def _may_retry(self, call: JudgeCall, attempts: Attempts, error: JudgeCallFailed) -> bool:
        """Return whether to send the call again after this error; replies that are paid for and of no use are few."""
        if attempts.faults > self._limits.retries or (error.unpriced and attempts.lost >= MAX_LOST):
            return False
        if isinstance(error, NothingToRead) and attempts.unread == 1:
            if not error.cut:
                return True
            if longer := attempts.enlarge(call):
                self._note_longer(call, attempts.token_limit)
            return longer
        return isinstance(error, JudgeFaltered)

    def _stop_if_hopeless(self, call: JudgeCall, error: JudgeCallFailed) -> None:
        """Raise JudgeUnavailable if no call of this run can be expected to succeed."""
        if isinstance(error, JudgeFaltered) and error.unreachable:
            raise JudgeUnavailable(str(error)) from None
        if isinstance(error, CallForbidden | NothingToRead) and self._limits.contact.hopeless(call.key):
            advice = f" {error.advice}" if isinstance(error, CallForbidden) else ""
            raise JudgeUnavailable(f"No call of this run was answered. The last error: {error}{advice}") from None

    def _note_longer(self, call: JudgeCall, limit: int) -> None:
        """Let later calls begin with the limit that this one needs."""
        contact = self._limits.contact
        if limit > contact.token_limit:
            contact.token_limit = limit
            logger.warning(
                "A reply was cut off before its answer at judge.max_tokens = %d (thoughts count): it is requested once "
                "more, and later calls of this run may take up to %d. Raise judge.max_tokens.",
                dict(call.parameters).get("max_tokens", 0),
                limit,
            )

    async def _store(self, outcome: CallOutcome) -> Reply | FailedCall:
        """Record the outcome; if the reply itself cannot be stored, record its cost and that it could not."""
        try:
            await self._record(outcome)
        except UnstorableRow as error:
            cost = outcome.reply and replace(outcome.reply, text="", model="", finish_reason="")
            outcome = CallOutcome(outcome.call, cost, f"The reply could not be stored: {error}", outcome.requests)
            await self._record(outcome)
        if outcome.error is not None or outcome.reply is None:
            return FailedCall(str(outcome.error))
        return outcome.reply

    async def _send(self, call: JudgeCall, attempts: Attempts) -> Reply:
        """Send one request, within budget and rate limits."""
        limits = self._limits
        token_limit = max(attempts.token_limit, limits.contact.token_limit)
        sent = replace(call, token_limit=token_limit or None, attempt=attempts.replies)
        attempts.sent_limit = max_reply_tokens(sent)
        expected = limits.cost_estimator.estimate(sent)
        await limits.budget.reserve(expected)
        paid, requests = None, 0
        try:
            await limits.rate_limiter.acquire(expected.tokens)
            attempts.requests, requests = attempts.requests + 1, 1
            paid = limits.cost_estimator.counted(sent, await self._complete(sent))
            return paid
        except JudgeCallFailed as error:
            if error.paid is not None:
                error.paid = limits.cost_estimator.counted(sent, error.paid)
            elif error.unpriced:
                error.paid = limits.cost_estimator.lost_reply(sent)
            paid = error.paid
            raise
        finally:
            actual = spending_of(paid, requests)
            limits.budget.settle(expected, actual)
            limits.rate_limiter.correct(actual.tokens - expected.tokens if paid else 0)
            if paid:
                limits.cost_estimator.observe(sent, paid)

    def _busy_wait(self, attempts: Attempts, error: JudgeBusy, entered: float) -> float:
        """Return the seconds until this call may be retried; if the judge named a time, all calls wait for it."""
        wait = error.wait_seconds if error.wait_seconds is not None else self._backoff(attempts.requests - 1)
        attempts.busy_seconds += wait
        if attempts.busy_seconds > self._limits.max_busy_seconds:
            self._stop_error = JudgeUnavailable(
                f"The judge asks to wait longer than judge.max_busy_seconds = {self._limits.max_busy_seconds:g}: "
                f"{error} Rerun later, or lower judge.concurrency or judge.requests_per_minute."
            )
            raise self._stop_error from None
        self._limits.concurrency.record_busy(entered, error.wait_seconds or 0.0)
        return wait

    def _backoff(self, retry: int) -> float:
        """Return the seconds before retry number ``retry``, from 0: exponential, with jitter.

        Without jitter, calls that failed together would be retried together.
        """
        longest = min(MAX_BACKOFF_SECONDS, self._limits.backoff_seconds * 2.0**retry)
        return longest * random.uniform(0.5, 1.0)


async def gather_all(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Run ``jobs`` together and return their results. An error is raised once all have ended, so none is cut off."""
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
