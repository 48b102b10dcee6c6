"""The OpenAI-compatible client against a real HTTP server that misbehaves on demand."""

import asyncio
import traceback
from dataclasses import replace

import pytest

from cyclealign.chat_api.client import JudgeClient, idempotency_key, request_parameters
from cyclealign.chat_api.named_errors import retry_after_seconds
from cyclealign.chat_api.prices import configured_price
from cyclealign.config import JudgeSettings
from cyclealign.errors import (
    BadConfig,
    CallForbidden,
    JudgeBusy,
    JudgeCallFailed,
    JudgeFaltered,
    JudgeUnavailable,
    NothingToRead,
    RequestRefused,
)
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


def ask(url, key="the-key", settings=SETTINGS, asked=None):
    async def complete():
        async with JudgeClient(settings, url, key, configured_price(settings)) as client:
            return await client.complete(asked or call())

    return asyncio.run(complete())


def test_a_reply_carries_its_tokens_its_model_and_its_price():
    """Prevents an unexpected bill: 100 tokens at 2 and 10 at 10 USD per million."""
    with LocalJudge() as judge:
        reply = ask(judge.url)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.model) == (100, 10, "local-judge-1")
    assert reply.cost_usd == pytest.approx(300e-6)
    assert judge.bodies[0]["temperature"] == 0.0
    assert judge.headers == ["Bearer the-key"]


def test_a_refused_key_stops_the_run():
    """Prevents thousands of calls with a wrong key, and a message without the provider's own words."""
    with LocalJudge(status=lambda number: 401) as judge, pytest.raises(JudgeUnavailable, match="refuses the key") as it:
        ask(judge.url)
    assert "scripted 401" in str(it.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((500, JudgeFaltered), (502, JudgeFaltered), (429, JudgeBusy), (400, RequestRefused), (422, RequestRefused)),
        *((403, CallForbidden), (404, CallForbidden), (418, JudgeCallFailed)),
    ],
)
def test_each_status_maps_to_a_named_error_with_the_providers_words(status, kind):
    """Prevents a transient fault from costing a verdict, a permanent one from being retried, and a lost reason."""
    with LocalJudge(status=lambda number: status) as judge, pytest.raises(JudgeCallFailed) as caught:
        ask(judge.url)
    assert type(caught.value) is kind
    assert f"scripted {status}" in str(caught.value)
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


def test_a_connection_that_cannot_be_made_secure_is_named():
    """Prevents a wrong scheme, or a certificate that is not accepted, from looking like a judge that is away."""
    with (
        LocalJudge() as judge,
        pytest.raises(JudgeFaltered, match="No secure connection to the judge at https") as told,
    ):
        ask(judge.url.replace("http:", "https:"))
    assert told.value.unreachable


class Scripted(LocalJudge):
    """Sends one body, or raw bytes, with a status."""

    def __init__(self, body, status=200):
        super().__init__()
        self.body, self.its_status = body, status

    def reply(self, raw):
        super().reply(raw)
        return self.its_status, self.body


def outcome(body, status=200):
    """Return the reply, or the error, that a body gives."""
    with Scripted(body, status) as judge:
        try:
            return ask(judge.url)
        except (JudgeCallFailed, JudgeUnavailable) as error:
            return error


def in_choice(**choice):
    return {"choices": [{"finish_reason": "stop", **choice}]}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (
            {"error": {"message": "Provider error", "code": 429, "metadata": {"raw": "slow down"}}},
            JudgeBusy,
            "slow down",
        ),
        ({"choices": None, "error": {"message": "daily limit", "code": "429"}}, JudgeBusy, "daily limit"),
        ({"error": {"message": "out of credit", "code": 402}}, JudgeUnavailable, "out of credit"),
        ({"error": {"message": "flagged", "code": 403}}, CallForbidden, "flagged"),
        ({"error": "it broke"}, JudgeFaltered, "it broke"),
        ({"error": {"message": "quota", "type": "insufficient_quota"}}, JudgeUnavailable, "quota"),
        ([{"error": {"message": "in a list", "code": 400}}], RequestRefused, "in a list"),
        (in_choice(finish_reason="error", error={"code": 502, "message": "upstream"}), JudgeFaltered, "upstream"),
        (in_choice(message={"content": ""}, error={"code": 429, "message": "late"}), JudgeBusy, "late"),
        ({"choices": [None]}, JudgeFaltered, "not a chat completion"),
    ],
)
def test_an_error_inside_a_200_counts_as_what_it_is(body, kind, words):
    """Prevents five paid retries on an empty account, and a busy judge from costing a verdict."""
    error = outcome(body)
    if isinstance(body, list):  # a list at the top is no completion, whatever it holds
        assert type(error) in (kind, JudgeFaltered)
    else:
        assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("message", "finish_reason", "words"),
    [
        ({"content": "", "reasoning_content": "so far K7"}, "length", "judge.max_tokens"),
        ({"content": None, "reasoning": "K7 it is"}, "stop", "thoughts and no answer"),
        ({"content": None}, "stop", "is empty"),
        ({"content": [{"type": "thinking", "thinking": "K7"}]}, "stop", "thoughts and no answer"),
        ({"content": None, "refusal": "I cannot."}, "stop", "refused: I cannot."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "stop", "refused: No."),
        ({"content": "", "tool_calls": [{"function": {"name": "rank"}}]}, "tool_calls", "called a tool ('rank')"),
        ({"content": ""}, "content_filter", "content filter"),
    ],
)
def test_a_reply_without_an_answer_is_named_and_paid_for(message, finish_reason, words):
    """Prevents thoughts from being read as a verdict, and spending that no history shows."""
    error = outcome({**in_choice(message=message, finish_reason=finish_reason), "usage": USAGE})
    assert words in str(error)
    assert error.paid.completion_tokens == 7
    assert isinstance(error, NothingToRead) is (words in ("judge.max_tokens", "thoughts and no answer", "is empty"))


USAGE = {"prompt_tokens": 90, "completion_tokens": 7}


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "K7 > "}, {"type": "text", "text": "M3"}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "M3 > K7"}]}, {"type": "text", "text": "K7 > M3"}],
        [{"type": "output_text", "text": "K7 > M3"}],
        {"type": "text", "text": "K7 > M3"},
        ["K7 > ", "M3"],
    ],
)
def test_a_text_in_parts_is_read(content):
    """Prevents a paid reply from counting as empty."""
    assert outcome(in_choice(message={"content": content})).text == "K7 > M3"


@pytest.mark.parametrize("count", [1e30, 3_000_000_000, -1, "90", True, None])
def test_a_count_of_tokens_that_nobody_can_believe_keeps_the_reply(count):
    """Prevents a number that no database takes, or a budget that is used up by an error of the provider."""
    reply = outcome({**in_choice(message={"content": "{}"}), "usage": {**USAGE, "prompt_tokens": count}})
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.counted) == ("{}", 0, 7, False)


def test_deeply_nested_json_is_a_fault_of_that_reply():
    """Prevents a RecursionError from ending the run."""

    class Nested(LocalJudge):
        def reply(self, raw):
            return 200, b"[" * 100_000

    with Nested() as judge, pytest.raises(JudgeFaltered, match="not a chat completion"):
        ask(judge.url)


@pytest.mark.parametrize(
    "key",
    ["sk-0123456789\n", " sk-0123456789", "sk-01234\n56789", "\u201csk-0123456789\u201d", "'sk-012'", "", "sk-\x00"],
)
def test_a_key_that_no_header_carries_is_named_before_anything_is_sent(key):
    """Prevents a traceback that shows the key, and retries of what cannot work."""
    with pytest.raises(BadConfig, match="OPENAI_API_KEY") as caught:
        ask("http://127.0.0.1:9/v1", key=key)
    shown = "".join(traceback.format_exception(caught.value))
    assert key.strip() == "" or key.strip() not in shown


def test_a_key_from_a_secret_block_is_named_as_such(monkeypatch):
    """Prevents a search for a mistake in a variable that was not used."""
    settings = SETTINGS.model_copy(update={"api_key_block": "judge-key", "api_key_variable": "UNSET_KEY"})
    with pytest.raises(BadConfig, match="Secret block 'judge-key'"):
        ask("http://127.0.0.1:9/v1", key="two\nlines", settings=settings)
    monkeypatch.setenv("UNSET_KEY", "now set")
    with pytest.raises(BadConfig, match="The key in UNSET_KEY"):
        ask("http://127.0.0.1:9/v1", key="two\nlines", settings=settings)


def test_headers_and_parameters_of_the_settings_are_sent(monkeypatch):
    """Prevents settings without effect, and a secret in a stored setting."""
    monkeypatch.setenv("GATEWAY_SECRET", "gateway-secret-1")
    settings = SETTINGS.model_copy(
        update={
            "temperature": None,
            "reasoning_effort": "low",
            "extra_body": {"provider": {"order": ["a"]}},
            "extra_headers": {"X-Title": "tests", "X-Gateway-Key": "$GATEWAY_SECRET"},
        }
    )
    asked = replace(call(), parameters=request_parameters(settings))
    with LocalJudge(script=lambda answers: "the secret is gateway-secret-1") as judge:
        text = ask(judge.url, settings=settings, asked=asked).text
    sent, headers = judge.bodies[0], judge.all_headers[0]
    assert (sent["reasoning_effort"], sent["provider"], "temperature" in sent) == ("low", {"order": ["a"]}, False)
    assert (headers["x-title"], headers["x-gateway-key"]) == ("tests", "gateway-secret-1")
    assert text == "the secret is [key]"


def test_a_variable_of_a_header_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("GATEWAY_SECRET", raising=False)
    settings = SETTINGS.model_copy(update={"extra_headers": {"X-Gateway-Key": "$GATEWAY_SECRET"}})
    with pytest.raises(BadConfig, match="GATEWAY_SECRET, which is not set"):
        ask("http://127.0.0.1:9/v1", settings=settings)


def test_a_repeated_request_has_the_name_of_the_first_until_it_got_a_reply():
    """Prevents a provider that honours such names from billing a lost reply twice, or from repeating a bad one."""
    names = [idempotency_key(replace(call(), attempt=attempt)) for attempt in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    with LocalJudge() as judge:
        ask(judge.url)
    assert judge.all_headers[0]["idempotency-key"] == names[0]
