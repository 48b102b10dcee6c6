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
    """Prevents a bill that nobody saw coming: 100 tokens at 2 and 10 at 10 USD a million."""
    with LocalJudge() as judge:
        reply = ask(judge.url)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.model) == (100, 10, "local-judge-1")
    assert reply.cost_usd == pytest.approx(300e-6)
    assert judge.bodies[0]["temperature"] == 0.0
    assert judge.headers == ["Bearer the-key"]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "refuses the key"), (403, "refuses the key"), (404, "has no model")]
)
def test_what_no_retry_can_mend_stops_the_run(status, words):
    with LocalJudge(status=lambda number: status) as judge, pytest.raises(JudgeUnavailable, match=words):
        ask(judge.url)


@pytest.mark.parametrize(
    ("status", "kind"), [(500, JudgeFaltered), (502, JudgeFaltered), (429, JudgeBusy), (400, RequestRefused)]
)
def test_each_fault_says_whether_asking_again_may_help(status, kind):
    """Prevents a passing fault from costing a verdict, and a lasting one from being retried."""
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
def test_how_long_a_busy_judge_asks_us_to_wait(headers, seconds):
    """Prevents a run that hammers a judge that named a time, or that sleeps for ever on a bad header."""
    assert retry_after_seconds(headers, now=1795240800.0) == seconds


def test_money_that_is_spent_stops_the_run():
    """Prevents a 429 that no waiting can mend from being waited for."""

    class Poor(LocalJudge):
        def reply(self, raw):
            return 429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}

    with Poor() as judge, pytest.raises(JudgeUnavailable, match="no money left"):
        ask(judge.url)


def test_tokens_from_the_providers_cache_cost_less():
    """Prevents a bill that is several times what the provider asks: 60 of 100 prompt tokens at a quarter of 2 USD."""

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
    with LocalJudge(script=lambda answers: "") as judge, pytest.raises(JudgeCallFailed, match="empty"):
        ask(judge.url)


def test_a_key_that_a_server_quotes_is_taken_out_of_the_message():
    """Prevents a key from reaching the database by way of an error text."""

    class Indiscreet(LocalJudge):
        def reply(self, raw):
            return 400, {"error": {"message": f"bad request with key {QUOTED}", "type": "x"}}

    with Indiscreet() as judge, pytest.raises(JudgeCallFailed) as caught:
        ask(judge.url, key=QUOTED)
    shown = "".join(traceback.format_exception(caught.value))
    assert QUOTED not in shown
    assert "[key]" in str(caught.value)


def test_a_key_that_a_reply_quotes_is_not_stored():
    with LocalJudge(script=lambda answers: f"your key is {QUOTED}") as judge:
        assert ask(judge.url, key=QUOTED).text == "your key is [key]"


def test_nobody_there():
    with pytest.raises(JudgeFaltered, match="does not respond") as caught:
        ask("http://127.0.0.1:9/v1")
    assert caught.value.unreachable
