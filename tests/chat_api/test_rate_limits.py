"""Concurrency and rate limits. Time is passed in as a value, so no test waits."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from cyclealign.chat_api.rate_limits import ConcurrencyLimiter, TokenBucket


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_burst_of_429s_halves_the_limit_once_and_success_restores_it():
    """Prevents a burst of 429s from stopping the run, and a permanently low limit for a judge that has recovered."""

    async def run():
        limiter = ConcurrencyLimiter(16)
        entered = [await limiter.acquire() for _ in range(16)]
        for each in entered:  # all were sent before the first 429 arrived
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


def test_the_limit_never_drops_below_one():
    """Prevents a run that waits forever after many 429s."""

    async def run():
        limiter = ConcurrencyLimiter(2)
        for _ in range(10):
            entered = await limiter.acquire()
            limiter.record_busy(entered + 1.0, 0.001)
            limiter.release()
        assert limiter.limit == 1
        await asyncio.wait_for(limiter.acquire(), 10)

    asyncio.run(run())


def test_a_cancelled_waiter_takes_no_slot():
    """Prevents slots from leaking until no call is admitted."""

    async def run():
        limiter = ConcurrencyLimiter(1)
        await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await settled()
        waiting[0].cancel()
        limiter.release()
        waiting[1].cancel()  # it may have been admitted already
        await settled()
        assert waiting[2].done()
        limiter.release()
        assert limiter.in_flight == 0

    asyncio.run(run())


@given(st.floats(1, 6000), st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_any_minute_has_at_most_the_limit_plus_one_second_s_worth(per_minute, gaps):
    """Prevents the run itself from exceeding the provider's limit."""
    bucket, now, sent = TokenBucket(per_minute), 100.0, []
    for gap in gaps:
        now += gap
        sent.append(now + bucket.take(1, now))
    assert sent == sorted(sent)
    for start in sent:
        inside = sum(start <= each < start + 60 for each in sent)
        assert inside <= per_minute + max(1, per_minute / 60) + 1e-6


def test_more_tokens_than_expected_delay_the_next_call():
    """Prevents low estimates from exceeding the limit of tokens."""
    bucket = TokenBucket(600)
    assert bucket.take(10, now=0.0) == 0
    bucket.correct(20)
    assert bucket.take(10, now=0.0) == 3.0
