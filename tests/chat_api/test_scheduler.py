"""The call scheduler: stored replies are recalled, and one failure does not end other calls. The judge is a fake."""

import asyncio

import pytest

from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import CallLimits, CallScheduler, gather_all
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable, StoreError
from cyclealign.records import FailedCall
from tests.judge.test_methods import call, reply


class FakeJudge:
    """Counts calls in flight; fails scripted calls, or all calls after some."""

    def __init__(self, fails=(), gone_after=None):
        self.fails, self.gone_after, self.asked, self.in_flight, self.max_in_flight = set(fails), gone_after, [], 0, 0

    async def complete(self, asked):
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        self.asked.append(asked.key)
        if self.gone_after is not None and len(self.asked) > self.gone_after:
            raise JudgeUnavailable("gone")
        if asked.key in self.fails:
            raise JudgeCallFailed("no luck")
        return reply("{}")


def outcomes(judge, calls, concurrency=3, stored=None):
    """Return the keys answered and failed, the results, and the error."""
    replied, failed, memory = [], [], stored or {}

    async def run():
        async def record(outcome):
            (failed if outcome.error else replied).append(outcome.call.key)

        ask_judge = CallScheduler(
            judge.complete, CallLimits(ConcurrencyLimiter(concurrency)), lambda each: memory.get(each.key), record
        )
        return await gather_all(ask_judge(each) for each in calls)

    try:
        results = asyncio.run(run())
    except JudgeUnavailable as error:
        return replied, failed, None, error
    return replied, failed, results, None


def test_one_failed_call_does_not_stop_the_others():
    """Prevents a failure from becoming a verdict, or from ending other calls."""
    calls = [call(number) for number in range(8)]
    replied, failed, results, _ = outcomes(FakeJudge(fails={calls[3].key}), calls)
    assert failed == [calls[3].key]
    assert sorted(replied) == sorted(each.key for each in calls if each is not calls[3])
    assert [isinstance(result, FailedCall) for result in results] == [number == 3 for number in range(8)]


def test_calls_in_flight_stay_within_the_concurrency():
    """Prevents the run itself from causing 429s."""
    judge = FakeJudge()
    outcomes(judge, [call(number) for number in range(12)], concurrency=3)
    assert judge.max_in_flight == 3


def test_an_unavailable_judge_stops_the_calls_and_keeps_the_replies():
    """Prevents thousands of futile calls, and the loss of paid replies."""
    calls = [call(number) for number in range(12)]
    judge = FakeJudge(gone_after=4)
    replied, failed, _, error = outcomes(judge, calls)
    assert isinstance(error, JudgeUnavailable)
    assert len(replied) == 4
    assert not failed
    assert len(judge.asked) < len(calls)


def test_stored_replies_and_duplicate_requests_cost_nothing():
    """Prevents paying again after a restart, or twice for identical requests in one run."""
    calls = [call(0), call(1), call(0), call(2)]
    judge = FakeJudge()
    replied, _, results, _ = outcomes(judge, calls, stored={calls[3].key: reply("stored")})
    assert sorted(judge.asked) == sorted(replied) == sorted({calls[0].key, calls[1].key})
    assert results[0] == results[2]
    assert results[3].text == "stored"


def scripted(*events):
    """Return a judge that raises these errors and returns these replies, one after another."""
    left = list(events)

    async def complete(asked):
        done = left.pop(0)
        if isinstance(done, Exception):
            raise done
        return done

    return complete


def outcome_of(complete, retries=3, max_busy_seconds=600.0):
    """Return the recorded outcomes of one call, and its result or error."""
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


def test_faults_are_retried_and_their_cost_is_counted():
    """Prevents a verdict lost to a transient fault, and spending that no history shows."""
    recorded, result = outcome_of(scripted(JudgeFaltered("502"), JudgeFaltered("empty", reply("")), reply("{}")))
    assert result.text == "{}"
    assert (result.prompt_tokens, recorded[0].requests) == (20, 3)
    assert len(recorded) == 1


def test_a_permanent_fault_fails_the_call_after_its_retries():
    """Prevents endless retries."""
    recorded, result = outcome_of(scripted(*[JudgeFaltered("502")] * 3), retries=2)
    assert result == FailedCall("502")
    assert (recorded[0].error, recorded[0].requests, recorded[0].reply) == ("502", 3, None)


def test_a_refused_call_is_not_retried():
    """Prevents paying for the same refusal several times."""
    recorded, result = outcome_of(scripted(JudgeCallFailed("refuses", reply(""))))
    assert result == FailedCall("refuses")
    assert (recorded[0].requests, recorded[0].reply.completion_tokens) == (1, 5)


def test_a_429_does_not_count_as_a_retry():
    """Prevents calls that fail only because the judge limits its rate."""
    assert outcome_of(scripted(*[JudgeBusy("429", 1e-6)] * 20, reply("{}")), retries=0)[1].text == "{}"


def test_a_judge_that_is_busy_for_too_long_stops_the_run():
    """Prevents a run that sleeps for days because of one retry-after header."""
    _, error = outcome_of(scripted(JudgeBusy("429", 1e6)))
    assert "judge.max_busy_seconds" in str(error)


def test_an_unreachable_address_stops_the_run_after_the_retries():
    """Prevents thousands of recorded failures for a server that is restarting or absent."""
    gone = [JudgeFaltered("does not answer", unreachable=True)] * 2
    assert outcome_of(scripted(*gone, reply("{}")), retries=2)[1].text == "{}"
    assert isinstance(outcome_of(scripted(*gone), retries=1)[1], JudgeUnavailable)


def test_a_failing_database_stops_further_calls():
    """Prevents reply after reply that is paid for and lost."""
    judge = FakeJudge()

    async def record(outcome):
        raise StoreError("disk full")

    async def run():
        ask_judge = CallScheduler(judge.complete, CallLimits(ConcurrencyLimiter(2)), lambda each: None, record)
        await gather_all(ask_judge(call(number)) for number in range(20))

    with pytest.raises(StoreError):
        asyncio.run(run())
    assert len(judge.asked) <= 2
