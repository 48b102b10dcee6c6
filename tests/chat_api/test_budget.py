"""The budget: it is never exceeded, and used to the last call that fits."""

import asyncio

from cyclealign.chat_api.budget import Budget, CostEstimator
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import CallLimits, CallScheduler, gather_all
from cyclealign.config import BudgetSettings
from cyclealign.errors import BudgetReached, JudgeFaltered
from cyclealign.records import Spending
from tests.support.store_values import call, reply


def ask_all(settings, spent=None, calls=20, complete=None, concurrency=4, retries=0):
    """Return the budget afterwards, the number of answered calls, and the error, if any."""
    budget, answered = Budget(settings, spent or Spending()), []

    async def answer(asked):
        await asyncio.sleep(0)
        return reply(cost_usd=0.25)

    async def record(outcome):
        if not outcome.error:
            answered.append(outcome.call.key)

    async def run():
        limits = CallLimits(ConcurrencyLimiter(concurrency), retries=retries, backoff_seconds=1e-6, budget=budget)
        ask_judge = CallScheduler(complete or answer, limits, lambda each: None, record)
        return await gather_all(ask_judge(call(number)) for number in range(calls))

    try:
        asyncio.run(run())
    except BudgetReached as error:
        return budget, len(answered), error
    return budget, len(answered), None


def test_calls_stop_at_the_budget():
    """Prevents one more call than allowed, whatever the number in flight."""
    budget, answered, error = ask_all(BudgetSettings(calls=7))
    assert (answered, budget.spent.calls) == (7, 7)
    assert "raise the limit" in str(error)


def test_earlier_spending_counts():
    """Prevents a budget that is reset by each restart."""
    assert ask_all(BudgetSettings(calls=7), Spending(calls=5))[1] == 2


def test_failed_requests_count_too():
    """Prevents retries of a failing judge from exceeding the limit of calls."""

    async def fail(asked):
        raise JudgeFaltered("no luck")

    budget, answered, error = ask_all(BudgetSettings(calls=7), complete=fail, retries=10, calls=3)
    assert (answered, budget.spent.calls) == (0, 7)
    assert error


def test_tokens_are_spent_to_the_last_call_that_fits():
    """Prevents a budget that ends early because calls in flight *might* have been longer than they were.

    A call takes 110 tokens, which is unknown before the first reply and learned from it.
    """
    budget, answered, error = ask_all(BudgetSettings(tokens=1_100))
    assert error
    assert budget.spent.tokens == answered * 110 <= 1_100
    assert answered >= 9


def test_without_a_budget_there_is_no_limit():
    """Prevents an unset limit from being read as zero."""
    assert ask_all(BudgetSettings())[1:] == (20, None)


def test_the_estimate_is_an_upper_bound_that_learns():
    """Prevents exceeding the budget with texts that have more tokens per character than English."""
    estimator = CostEstimator(Price(prompt=1e6, completion=0.0))
    first = estimator.estimate(call(0))
    assert first.tokens >= len("rank these: 0") / 2
    estimator.observe(call(0), reply())
    assert estimator.estimate(call(1)).tokens >= 100
    assert estimator.estimate(call(1)).usd > 99
