"""The OpenAI-compatible client against a real HTTP server that misbehaves on demand."""

import asyncio
import traceback

import pytest

from cyclealign.chat_api.client import JudgeClient, request_parameters, retry_after_seconds
from cyclealign.chat_api.prices import configured_price
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable, RequestRefused
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.judge.templates import load_template
from tests.judge.test_templates import PROMPTS
from tests.support.local_judge import LocalJudge

SETTINGS = JudgeSettings(
    kind="openai",
    model="local",
    retries=0,
    timeout_seconds=20,
    usd_per_million_prompt_tokens=2.0,
    usd_per_million_completion_tokens=10.0,
)

# Made of parts: a traceback shows lines of this file.
QUOTED = "-".join(["sk", "quoted", "key"])


def call():
    spec = PromptSpec(load_template(PROMPTS, "rank"), "local", request_parameters(SETTINGS), 0)
    return rank_call(spec, "rank", "p", "q", {"x": "one", "y": "two words"}, [], 0)


def ask(url, key="the-key", settings=SETTINGS):
    async def complete():
        async with JudgeClient(settings, url, key, configured_price(settings)) as client:
            return await client.complete(call())

    return asyncio.run(complete())


def test_a_reply_carries_its_tokens_its_model_and_its_price():
    """Prevents an unexpected bill: 100 tokens at 2 and 10 at 10 USD per million."""
    with LocalJudge() as judge:
        reply = ask(judge.url)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.model) == (100, 10, "local-judge-1")
    assert reply.cost_usd == pytest.approx(300e-6)
    assert judge.bodies[0]["temperature"] == 0.0
    assert judge.headers == ["Bearer the-key"]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "refuses the key"), (403, "refuses the key"), (404, "has no model")]
)
def test_a_permanent_error_stops_the_run(status, words):
    """Prevents thousands of calls with a wrong key or model name."""
    with LocalJudge(status=lambda number: status) as judge, pytest.raises(JudgeUnavailable, match=words):
        ask(judge.url)


@pytest.mark.parametrize(
    ("status", "kind"), [(500, JudgeFaltered), (502, JudgeFaltered), (429, JudgeBusy), (400, RequestRefused)]
)
def test_each_status_maps_to_a_named_error(status, kind):
    """Prevents a transient fault from costing a verdict, and a permanent one from being retried."""
    with LocalJudge(status=lambda number: status) as judge, pytest.raises(JudgeCallFailed) as caught:
        ask(judge.url)
    assert type(caught.value) is kind
    assert sum(judge.asked.values()) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 06:00:30 GMT"}, 30.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_the_retry_after_headers(headers, seconds):
    """Prevents a run that ignores the named time, or sleeps forever on a bad header."""
    assert retry_after_seconds(headers, now=1795240800.0) == seconds


def test_an_empty_account_stops_the_run():
    """Prevents waiting on a 429 that waiting cannot resolve."""

    class Poor(LocalJudge):
        def reply(self, raw):
            return 429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}

    with Poor() as judge, pytest.raises(JudgeUnavailable, match="no money left"):
        ask(judge.url)


def test_tokens_from_the_providers_cache_cost_less():
    """Prevents a cost several times the provider's bill: 60 of 100 prompt tokens at a quarter of 2 USD."""

    class Caching(LocalJudge):
        def reply(self, raw):
            status, body = super().reply(raw)
            body["usage"]["prompt_tokens_details"] = {"cached_tokens": 60}
            return status, body

    with Caching() as judge:
        reply = ask(judge.url, settings=SETTINGS.model_copy(update={"usd_per_million_cached_tokens": 0.5}))
    assert reply.cached_prompt_tokens == 60
    assert reply.cost_usd == pytest.approx((40 * 2 + 60 * 0.5 + 10 * 10) * 1e-6)


def test_an_empty_reply_is_a_failure():
    """Prevents an empty reply from being stored as an answered call."""
    with LocalJudge(script=lambda answers: "") as judge, pytest.raises(JudgeCallFailed, match="empty"):
        ask(judge.url)


def test_a_key_quoted_by_the_server_is_redacted_in_the_error():
    """Prevents a key from reaching the database through an error message."""

    class Indiscreet(LocalJudge):
        def reply(self, raw):
            return 400, {"error": {"message": f"bad request with key {QUOTED}", "type": "x"}}

    with Indiscreet() as judge, pytest.raises(JudgeCallFailed) as caught:
        ask(judge.url, key=QUOTED)
    shown = "".join(traceback.format_exception(caught.value))
    assert QUOTED not in shown
    assert "[key]" in str(caught.value)


def test_a_key_quoted_in_a_reply_is_redacted():
    """Prevents a key from reaching the database through a stored reply."""
    with LocalJudge(script=lambda answers: f"your key is {QUOTED}") as judge:
        assert ask(judge.url, key=QUOTED).text == "your key is [key]"


def test_an_unreachable_address_is_named():
    """Prevents a refused connection from being reported as a broken one."""
    with pytest.raises(JudgeFaltered, match="does not respond") as caught:
        ask("http://127.0.0.1:9/v1")
    assert caught.value.unreachable
