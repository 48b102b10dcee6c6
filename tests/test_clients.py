"""The OpenAI-compatible client against a real HTTP server that misbehaves on demand."""

import asyncio

import pytest

from cyclealign.clients import JudgeClient, parameters_of
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeCallFailed, JudgeUnavailable
from cyclealign.judging import Manner, rank_call
from cyclealign.prompting import load_template
from tests.local_judge import LocalJudge
from tests.test_prompting import PROMPTS

SETTINGS = JudgeSettings(
    kind="openai",
    model="local",
    retries=0,
    timeout_seconds=20,
    usd_per_million_prompt_tokens=2.0,
    usd_per_million_completion_tokens=10.0,
)


def call():
    manner = Manner(load_template(PROMPTS, "rank"), "local", parameters_of(SETTINGS), 0)
    return rank_call(manner, "rank", "p", "q", {"x": "one", "y": "two words"}, [], 0)


def ask(url, key="the-key", settings=SETTINGS):
    async def complete():
        async with JudgeClient(settings, url, key) as client:
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
    ("status", "words"), [(401, "refuses the key"), (403, "refuses the key"), (404, "knows no model")]
)
def test_what_no_retry_can_mend_stops_the_run(status, words):
    with LocalJudge(status=lambda number: status) as judge, pytest.raises(JudgeUnavailable, match=words):
        ask(judge.url)


def test_a_server_error_fails_one_call_after_its_retries():
    """Prevents a passing fault from ending a round, and a lasting one from being retried for ever."""
    patient = SETTINGS.model_copy(update={"retries": 1})
    with LocalJudge(status=lambda number: 500 if number == 0 else 200) as judge:
        assert ask(judge.url, settings=patient).text
    with LocalJudge(status=lambda number: 500) as judge, pytest.raises(JudgeCallFailed):
        ask(judge.url, settings=patient)
    assert sum(judge.asked.values()) == 2


def test_an_empty_reply_is_a_failure():
    with LocalJudge(script=lambda answers: "") as judge, pytest.raises(JudgeCallFailed, match="empty"):
        ask(judge.url)


def test_a_key_that_a_server_quotes_is_taken_out_of_the_message():
    """Prevents a key from reaching the database by way of an error text."""

    class Indiscreet(LocalJudge):
        def reply(self, raw):
            return 400, {"error": {"message": "bad request with key sk-quoted-key", "type": "x"}}

    with Indiscreet() as judge, pytest.raises(JudgeCallFailed) as caught:
        ask(judge.url, key="sk-quoted-key")
    assert "sk-quoted-key" not in str(caught.value)
    assert "[key]" in str(caught.value)


def test_nobody_there():
    with pytest.raises(JudgeUnavailable, match="does not answer"):
        ask("http://127.0.0.1:9/v1")
