"""Limits that several runs share through Prefect's own global limits, on a real Prefect server."""

import asyncio

from cyclealign.chat_api.rate_limits import LocalRateLimiter, NoRateLimit
from cyclealign.config import JudgeSettings
from flows import rate_limits


def test_runs_of_one_server_share_one_limit(prefect_server, monkeypatch):
    """Prevents two runs that each keep the provider's limit, and together exceed it.

    Slots come back at six an hour here: what two runs get at once is all there is, whatever the machine's speed.
    """
    from prefect.client.orchestration import get_client

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    judge = JudgeSettings(model="shared limit", requests_per_minute=0.1)
    runs = [rate_limits.rate_limiter(judge), rate_limits.rate_limiter(judge)]
    assert all(isinstance(each, rate_limits.PrefectRateLimiter) for each in runs)

    async def taken():
        got = 0
        # The first two get a slot however slow the server is; the other two would wait for minutes.
        for run, wait_seconds in ((runs[0], 120), (runs[1], 120), (runs[0], 1.5), (runs[1], 1.5)):
            run._local = LocalRateLimiter(None, None)  # this process alone would wait a minute
            try:
                await asyncio.wait_for(run.acquire(0), wait_seconds)
                got += 1
            except TimeoutError:
                pass
        async with get_client() as client:
            made = await client.read_global_concurrency_limit_by_name(rate_limits.limit_name(judge, "requests"))
        return got, made.limit

    got, limit = asyncio.run(taken())
    assert got == limit == 2


def test_tokens_that_were_not_needed_are_left_for_the_next_call(prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    run = rate_limits.rate_limiter(JudgeSettings(model="tokens", tokens_per_minute=3000))

    async def take():
        await run.acquire(100)
        run.correct(-60)
        await run.acquire(60)

    asyncio.run(take())
    assert run._tokens.credit == 0


def test_without_limits_or_without_a_server_nothing_is_asked_of_prefect(monkeypatch):
    """Prevents a request to the Prefect server for each judge call where nobody wants a limit."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert isinstance(rate_limits.rate_limiter(JudgeSettings()), NoRateLimit)
    monkeypatch.delenv("PREFECT_API_URL")
    assert isinstance(rate_limits.rate_limiter(JudgeSettings(requests_per_minute=5)), LocalRateLimiter)
