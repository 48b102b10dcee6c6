"""Attempts at one call: what is retried and how often, what is booked, and when a whole run stops."""

import asyncio
import json

import pytest

from cyclealign.chat_api.budget import Budget, CostEstimator
from cyclealign.chat_api.client import JudgeClient
from cyclealign.chat_api.judge_contact import MAX_FAILED_BEFORE_ANSWER, JudgeContact
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import CallLimits, CallScheduler
from cyclealign.config import BudgetSettings, JudgeSettings
from cyclealign.errors import (
    BudgetReached,
    CallForbidden,
    JudgeFaltered,
    JudgeUnavailable,
    NothingToRead,
    UnstorableRow,
)
from cyclealign.records import FailedCall, Reply, Spending
from tests.support.faulty_judge import FaultyJudge
from tests.support.raw_server import RawServer
from tests.support.store_values import call

PRICE = Price(prompt=1.0, completion=2.0)


def paid(text="", finish_reason="stop", tokens=256):
    return Reply(text, "m", 90, tokens, 0.5, 0.1, finish_reason=finish_reason)


def cut():
    return NothingToRead("The reply was cut off. Raise judge.max_tokens.", paid(finish_reason="length"), cut=True)


class Judge:
    """Raises or returns the scripted events one after another, the last one for ever; keeps the requests."""

    def __init__(self, *events):
        self.events, self.sent = list(events), []

    async def complete(self, asked):
        self.sent.append(asked)
        event = self.events.pop(0) if len(self.events) > 1 else self.events[0]
        if isinstance(event, Exception):
            raise event
        return event


def ask(judge, numbers=(0,), retries=5, contact=None, record=None, budget=None):
    """Return the results, or the error that stopped the calls, and the recorded outcomes; one call at a time."""
    recorded = []

    async def store(outcome):
        recorded.append(outcome)

    async def run():
        limits = CallLimits(
            ConcurrencyLimiter(1),
            retries=retries,
            backoff_seconds=1e-6,
            cost_estimator=CostEstimator(PRICE),
            budget=Budget(budget or BudgetSettings(), Spending()),
            contact=contact or JudgeContact(),
        )
        scheduler = CallScheduler(judge.complete, limits, lambda each: None, record or store)
        return [await scheduler(call(number)) for number in numbers]

    try:
        return asyncio.run(run()), recorded
    except (JudgeUnavailable, BudgetReached) as error:
        return error, recorded


def test_a_reply_cut_before_its_answer_is_asked_for_once_more_with_a_larger_limit():
    """Prevents five equal paid retries at temperature 0."""
    judge = Judge(cut(), paid("K7 > M3"))
    (result,), recorded = ask(judge)
    assert [asked.token_limit for asked in judge.sent] == [None, 2048]
    assert (result.text, result.completion_tokens, result.cost_usd) == ("K7 > M3", 512, 1.0)
    assert recorded[0].requests == 2


def test_a_reply_that_is_cut_again_fails_with_the_name_of_the_setting():
    """Prevents 96 paid calls for 16, and a failure that does not say what to change."""
    judge = Judge(cut())
    (result,), recorded = ask(judge)
    assert "judge.max_tokens" in result.error
    assert (len(judge.sent), recorded[0].reply.completion_tokens) == (2, 512)


def test_a_limit_that_proved_large_enough_is_used_from_then_on():
    """Prevents each call of a round from paying for a reply that is cut off first."""
    judge = Judge(cut(), paid("first"), paid("second"))
    results, _ = ask(judge, (0, 1))
    assert [result.text for result in results] == ["first", "second"]
    assert [asked.token_limit for asked in judge.sent] == [None, 2048, 2048]


def test_an_empty_reply_is_asked_for_once_more():
    """Prevents five equal paid retries of a request that gives an empty reply at temperature 0."""
    judge = Judge(NothingToRead("The reply is empty.", paid()))
    (result,), recorded = ask(judge)
    assert (len(judge.sent), result) == (2, FailedCall("The reply is empty."))
    assert recorded[0].reply.cost_usd == 1.0


def test_without_retries_nothing_is_asked_for_again():
    """Prevents a setting from being ignored."""
    judge = Judge(cut())
    ask(judge, retries=0)
    assert len(judge.sent) == 1


@pytest.mark.parametrize("error", [CallForbidden("Status 403: no", "Check the key."), cut()])
def test_a_run_stops_only_if_several_calls_fail_alike_and_none_was_answered(error):
    """Prevents thousands of paid or futile calls, and an experiment that its first moderated prompt ends for ever."""
    judge = Judge(error)
    stopped, recorded = ask(judge, range(10))
    assert isinstance(stopped, JudgeUnavailable)
    assert str(error) in str(stopped)
    assert len(recorded) == MAX_FAILED_BEFORE_ANSWER


def test_a_forbidden_call_of_a_run_with_answers_fails_alone():
    """Prevents one prompt that a provider's moderation refuses from ending the experiment each time."""
    judge = Judge(paid("fine"), CallForbidden("Status 403: flagged", "Check the key."))
    results, _ = ask(judge, range(10))
    assert [type(result) for result in results] == [Reply] + [FailedCall] * 9
    assert results[1].error == "Status 403: flagged"


def test_the_first_prompt_of_a_run_may_be_forbidden():
    """Prevents a run from ending at its first prompt, each time it is started."""
    results, _ = ask(Judge(CallForbidden("Status 403: flagged", ""), paid("fine")), range(2))
    assert [type(result) for result in results] == [FailedCall, Reply]


def test_a_call_without_a_reply_is_booked_at_its_estimated_price_and_marked():
    """Prevents a budget that does not see requests which the provider bills and never answered in time."""
    judge = Judge(JudgeFaltered("No reply within 60 s.", unpriced=True), paid("late", tokens=10))
    (result,), _ = ask(judge)
    assert result.estimated_usd > 0
    assert result.cost_usd == pytest.approx(0.5 + result.estimated_usd)
    assert result.prompt_tokens + result.completion_tokens == 100 + result.estimated_tokens
    assert [asked.attempt for asked in judge.sent] == [0, 0]  # the provider may have a reply to the first request


def test_a_connection_that_closes_before_the_reply_leaves_the_request_its_name():
    """Prevents a provider that bills a named request once from billing this one twice."""
    settings = JudgeSettings(kind="openai", model="m")

    async def run(url):
        async with JudgeClient(settings, url, "a-key") as client:
            await client.complete(call(0))

    with RawServer(b"") as server, pytest.raises(JudgeFaltered, match="closed before the reply began") as closed:
        asyncio.run(run(server.url))
    judge = Judge(closed.value, paid("late"))
    ask(judge)
    assert [asked.attempt for asked in judge.sent] == [0, 0]


def test_a_reply_that_never_comes_is_asked_for_three_times_at_most():
    """Prevents six paid requests to a judge that takes longer than the timeout, each time."""
    judge = Judge(JudgeFaltered("No reply within 60 s.", unpriced=True))
    (result,), recorded = ask(judge, retries=10)
    assert isinstance(result, FailedCall)
    assert (len(judge.sent), recorded[0].requests) == (3, 3)


def test_the_budget_counts_calls_without_a_reply():
    """Prevents a judge that hangs from costing more than the budget."""
    hangs = JudgeFaltered("No reply within 60 s.", unpriced=True)
    error, recorded = ask(Judge(hangs), range(10), retries=0, budget=BudgetSettings(tokens=40))
    assert isinstance(error, BudgetReached)
    assert sum(outcome.reply.estimated_tokens for outcome in recorded) <= 40


def test_counts_that_are_missing_are_estimated_and_marked():
    """Prevents a budget that never ends because a provider sends no usage."""
    silent = Reply('{"ranking": ["A"]}', "m", 0, 0, 0.0, 0.1, counted=False)
    (result,), _ = ask(Judge(silent))
    assert (result.counted, result.prompt_tokens > 0, result.completion_tokens > 0) == (True, True, True)
    assert result.estimated_tokens == result.prompt_tokens + result.completion_tokens
    assert result.cost_usd == result.estimated_usd > 0


def test_a_reply_that_cannot_be_stored_fails_its_call_alone():
    """Prevents one odd reply from ending the run, and its cost from being lost."""
    recorded = []

    async def record(outcome):
        if outcome.error is None and outcome.reply.text == "odd":
            raise UnstorableRow("integer out of range")
        recorded.append(outcome)

    results, _ = ask(Judge(paid("odd"), paid("fine")), range(2), record=record)
    assert "integer out of range" in results[0].error
    assert results[1].text == "fine"
    assert [outcome.reply.cost_usd for outcome in recorded] == [0.5, 0.5]


def test_a_judge_that_hangs_is_booked_over_http():
    """Prevents a client-side timeout from counting as free. (The server accepts the request and never replies.)"""
    settings = JudgeSettings(kind="openai", model="m", timeout_seconds=0.05)
    errors = []

    async def run(url):
        async with JudgeClient(settings, url, "a-key") as client:
            try:
                await client.complete(call(0))
            except JudgeFaltered as error:
                errors.append(error)

    for fault in ("hang", "cut"):
        with FaultyJudge(1.0, 0, (fault,)) as judge:
            asyncio.run(run(judge.url))
    assert [error.unpriced for error in errors] == [True, True]
    assert json.dumps(str(errors[0])) == '"No reply within judge.timeout_seconds = 0.05."'
