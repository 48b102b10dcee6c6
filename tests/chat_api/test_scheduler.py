"""Asking: what was answered is not asked again, and no failure tears another call down. The judge is a fake."""

import asyncio

import pytest

from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import CallLimits, CallScheduler, gather_all
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable, StoreError
from tests.judge.test_methods import call, reply


class FakeJudge:
    """Counts calls under way; fails or is gone where it is told to."""

    def __init__(self, fails=(), gone_after=None):
        self.fails, self.gone_after, self.asked, self.under_way, self.most = set(fails), gone_after, [], 0, 0

    async def complete(self, asked):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.asked.append(asked.key)
        if self.gone_after is not None and len(self.asked) > self.gone_after:
            raise JudgeUnavailable("gone")
        if asked.key in self.fails:
            raise JudgeCallFailed("no luck")
        return reply("{}")


def outcomes(judge, calls, concurrency=3, stored=None):
    """What was newly answered, what failed, the results, and what was raised."""
    replied, failed, memory = [], [], stored or {}

    async def run():
        async def record(outcome):
            (failed if outcome.error else replied).append(outcome.call.key)

        asking = CallScheduler(
            judge.complete, CallLimits(ConcurrencyLimiter(concurrency)), lambda each: memory.get(each.key), record
        )
        return await gather_all(asking(each) for each in calls)

    try:
        results = asyncio.run(run())
    except JudgeUnavailable as error:
        return replied, failed, None, error
    return replied, failed, results, None


def test_one_failed_call_does_not_stop_the_others():
    """Prevents a failure from becoming a verdict, and from costing the other calls."""
    calls = [call(number) for number in range(8)]
    replied, failed, results, _ = outcomes(FakeJudge(fails={calls[3].key}), calls)
    assert failed == [calls[3].key]
    assert sorted(replied) == sorted(each.key for each in calls if each is not calls[3])
    assert [result is None for result in results] == [number == 3 for number in range(8)]


def test_never_more_calls_at_once_than_allowed():
    """Prevents a rate limit from being run into by our own doing."""
    judge = FakeJudge()
    outcomes(judge, [call(number) for number in range(12)], concurrency=3)
    assert judge.most == 3


def test_a_judge_that_is_gone_stops_the_asking_and_keeps_what_was_answered():
    """Prevents thousands of vain calls, and the loss of paid replies."""
    calls = [call(number) for number in range(12)]
    judge = FakeJudge(gone_after=4)
    replied, failed, _, error = outcomes(judge, calls)
    assert isinstance(error, JudgeUnavailable)
    assert len(replied) == 4
    assert not failed
    assert len(judge.asked) < len(calls)


def test_a_stored_reply_and_a_question_asked_twice_cost_nothing():
    """Prevents paying again after a restart, or twice within one run for lists that ask the same."""
    calls = [call(0), call(1), call(0), call(2)]
    judge = FakeJudge()
    replied, _, results, _ = outcomes(judge, calls, stored={calls[3].key: reply("stored")})
    assert sorted(judge.asked) == sorted(replied) == sorted({calls[0].key, calls[1].key})
    assert results[0] == results[2]
    assert results[3].text == "stored"


def scripted(*happenings):
    """A judge that does these things one after another: raises errors, returns replies."""
    left = list(happenings)

    async def complete(asked):
        done = left.pop(0)
        if isinstance(done, Exception):
            raise done
        return done

    return complete


def outcome_of(complete, retries=3, max_busy_seconds=600.0):
    """What was recorded of one call, and its result or the error."""
    recorded = []

    async def record(outcome):
        recorded.append(outcome)

    async def run():
        limits = CallLimits(
            ConcurrencyLimiter(2), retries=retries, backoff_seconds=1e-6, max_busy_seconds=max_busy_seconds
        )
        return await CallScheduler(complete, limits, lambda each: None, record)(call(0))

    try:
        return recorded, asyncio.run(run())
    except JudgeUnavailable as error:
        return recorded, error


def test_faults_are_asked_again_and_what_they_cost_is_counted():
    """Prevents a verdict lost to a passing fault, and money that no history shows."""
    recorded, result = outcome_of(scripted(JudgeFaltered("502"), JudgeFaltered("empty", reply("")), reply("{}")))
    assert result.text == "{}"
    assert (result.prompt_tokens, recorded[0].requests) == (20, 3)
    assert len(recorded) == 1


def test_a_fault_that_lasts_fails_the_call_after_its_retries():
    recorded, result = outcome_of(scripted(*[JudgeFaltered("502")] * 3), retries=2)
    assert result is None
    assert (recorded[0].error, recorded[0].requests, recorded[0].reply) == ("502", 3, None)


def test_what_no_retry_can_mend_is_not_retried():
    recorded, result = outcome_of(scripted(JudgeCallFailed("refuses", reply(""))))
    assert result is None
    assert (recorded[0].requests, recorded[0].reply.completion_tokens) == (1, 5)


def test_a_busy_judge_costs_no_retry():
    """Prevents calls that fail because a judge limits its rate, which is no fault."""
    assert outcome_of(scripted(*[JudgeBusy("429", 1e-6)] * 20, reply("{}")), retries=0)[1].text == "{}"


def test_a_judge_that_is_busy_for_too_long_stops_the_run():
    """Prevents a run that sleeps for days because of one header."""
    _, error = outcome_of(scripted(JudgeBusy("429", 1e6)))
    assert "judge.max_busy_seconds" in str(error)


def test_nobody_at_the_address_stops_the_run_after_the_retries():
    """Prevents thousands of failures recorded for a server that is only being restarted, or is not there."""
    gone = [JudgeFaltered("does not answer", unreachable=True)] * 2
    assert outcome_of(scripted(*gone, reply("{}")), retries=2)[1].text == "{}"
    assert isinstance(outcome_of(scripted(*gone), retries=1)[1], JudgeUnavailable)


def test_a_database_that_fails_stops_the_paying():
    """Prevents replies that are paid for and lost, one after another."""
    judge = FakeJudge()

    async def record(outcome):
        raise StoreError("disk full")

    async def run():
        asking = CallScheduler(judge.complete, CallLimits(ConcurrencyLimiter(2)), lambda each: None, record)
        await gather_all(asking(call(number)) for number in range(20))

    with pytest.raises(StoreError):
        asyncio.run(run())
    assert len(judge.asked) <= 2
