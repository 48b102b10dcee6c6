"""How fast the judge is asked. Time is given to the parts that count it, so nothing here waits."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from cyclealign.chat_api.rate_limits import ConcurrencyLimiter, TokenBucket


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_busy_judge_halves_what_is_under_way_once_and_success_wins_it_back():
    """Prevents a burst of 429s from stopping the run, and a judge that recovers from being asked slowly for ever."""

    async def run():
        limiter = ConcurrencyLimiter(16)
        entered = [await limiter.acquire() for _ in range(16)]
        for each in entered:  # all of them were sent before anybody knew
            limiter.record_busy(each, 0.0)
        assert limiter.limit == 8
        for _ in entered:
            limiter.release()
        late = [await limiter.acquire() for _ in range(8)]
        waiting = asyncio.create_task(limiter.acquire())
        await settled()
        assert not waiting.done()
        limiter.release()
        await waiting
        limiter.record_busy(late[0] + 1.0, 0.0)
        assert limiter.limit == 4
        for _ in range(200):
            limiter.record_success()
        assert limiter.limit == 16

    asyncio.run(run())


def test_the_gate_never_closes_for_good():
    """Prevents a run that waits for ever after many 429s."""

    async def run():
        limiter = ConcurrencyLimiter(2)
        for _ in range(10):
            entered = await limiter.acquire()
            limiter.record_busy(entered + 1.0, 0.001)
            limiter.release()
        assert limiter.limit == 1
        await asyncio.wait_for(limiter.acquire(), 10)

    asyncio.run(run())


def test_who_gives_up_waiting_takes_no_place():
    """Prevents places that are lost one by one until nothing is asked any more."""

    async def run():
        limiter = ConcurrencyLimiter(1)
        await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await settled()
        waiting[0].cancel()
        limiter.release()
        waiting[1].cancel()  # it may have been let in already
        await settled()
        assert waiting[2].done()
        limiter.release()
        assert limiter.in_flight == 0

    asyncio.run(run())


@given(st.floats(1, 6000), st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_minute_sees_more_than_the_limit_and_a_second_of_it(per_minute, gaps):
    """Prevents a provider's limit from being run into by our own doing."""
    bucket, now, sent = TokenBucket(per_minute), 100.0, []
    for gap in gaps:
        now += gap
        sent.append(now + bucket.take(1, now))
    assert sent == sorted(sent)
    for start in sent:
        inside = sum(start <= each < start + 60 for each in sent)
        assert inside <= per_minute + max(1, per_minute / 60) + 1e-6


def test_more_tokens_than_expected_delay_the_next_call():
    bucket = TokenBucket(600)
    assert bucket.take(10, now=0.0) == 0
    bucket.correct(20)
    assert bucket.take(10, now=0.0) == 3.0
