"""Asking: what was answered is not asked again, and no failure tears another call down. The judge is a fake."""

import asyncio

from cyclealign.asking import Asking, every
from cyclealign.errors import JudgeCallFailed, JudgeUnavailable
from tests.test_judging import call, reply


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
        asking = Asking(
            judge.complete,
            concurrency,
            recall=lambda each: memory.get(each.key),
            on_reply=lambda each, _: replied.append(each.key),
            on_failure=lambda each, _: failed.append(each.key),
        )
        return await every(asking(each) for each in calls)

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
