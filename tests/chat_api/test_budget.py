"""The budget: never more is spent than it says, and it ends no sooner than it must."""

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
    """The budget afterwards, how many calls were answered, and the error if there was one."""
    budget, answered = Budget(settings, spent or Spending()), []

    async def answer(asked):
        await asyncio.sleep(0)
        return reply(cost_usd=0.25)

    async def record(outcome):
        if not outcome.error:
            answered.append(outcome.call.key)

    async def run():
        limits = CallLimits(ConcurrencyLimiter(concurrency), retries=retries, backoff_seconds=1e-6, budget=budget)
        asking = CallScheduler(complete or answer, limits, lambda each: None, record)
        return await gather_all(asking(call(number)) for number in range(calls))

    try:
        asyncio.run(run())
    except BudgetReached as error:
        return budget, len(answered), error
    return budget, len(answered), None


def test_calls_stop_where_the_budget_says():
    """Prevents one more call than allowed, however many are under way at once."""
    budget, answered, error = ask_all(BudgetSettings(calls=7))
    assert (answered, budget.spent.calls) == (7, 7)
    assert "raise the limit" in str(error)


def test_what_was_spent_before_counts():
    """Prevents a budget that starts anew with every restart."""
    assert ask_all(BudgetSettings(calls=7), Spending(calls=5))[1] == 2


def test_failed_requests_count_too():
    async def fail(asked):
        raise JudgeFaltered("no luck")

    budget, answered, error = ask_all(BudgetSettings(calls=7), complete=fail, retries=10, calls=3)
    assert (answered, budget.spent.calls) == (0, 7)
    assert error


def test_tokens_are_spent_to_the_last_call_that_fits():
    """Prevents a budget that ends early because calls under way *might* have been longer than they were.

    A call takes 110 tokens. Before the first reply it might be fewer or more: that is learnt.
    """
    budget, answered, error = ask_all(BudgetSettings(tokens=1_100))
    assert error
    assert budget.spent.tokens == answered * 110 <= 1_100
    assert answered >= 9


def test_no_budget_is_no_limit():
    assert ask_all(BudgetSettings())[1:] == (20, None)


def test_expectation_is_an_upper_bound_that_learns():
    """Prevents an overrun by texts that are denser in tokens than English."""
    estimator = CostEstimator(Price(prompt=1e6, completion=0.0))
    first = estimator.estimate(call(0))
    assert first.tokens >= len("rank these: 0") / 2
    estimator.observe(call(0), reply())
    assert estimator.estimate(call(1)).tokens >= 100
    assert estimator.estimate(call(1)).usd > 99
