"""Whatever a provider sends, the client raises errors of ours alone, and a reply that holds an answer is kept.

``make test`` tries 300 responses; ``CYCLEALIGN_FUZZ=10000 pytest tests/chat_api/test_fuzz.py`` tries more.
"""

import asyncio
import gzip
import json
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cyclealign.chat_api.batch_api import BatchApi
from cyclealign.chat_api.budget import CostEstimator
from cyclealign.chat_api.client import JudgeClient
from cyclealign.chat_api.completion import MAX_TOKENS
from cyclealign.chat_api.prices import Price
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeError
from cyclealign.records import CallOutcome, Reply
from tests.support.raw_server import RawServer
from tests.support.store_values import call, opened

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("CYCLEALIGN_FUZZ", "300"))
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 300, suppress_health_check=list(HealthCheck)
)
KEY = "-".join(["sk", "fuzz", "0123456789"])

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([1e30, 3_000_000_000, 2**31, 2**63, 2**64, -1]))
texts = st.one_of(st.text(max_size=20), st.sampled_from([KEY, "length", "error", "stop", "\x00", "\ud800", "429"]))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
NAMES = (
    *("error", "choices", "message", "content", "usage", "code", "type", "text", "finish_reason", "tool_calls"),
    *("refusal", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "metadata", "raw"),
    *("detail", "loc", "msg", "param", "status", "model", "function", "name", "reasoning", "id", "data", "errors"),
)
values = st.recursive(
    scalars,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), texts), parts, max_size=5)
    ),
    max_leaves=12,
)
contents = st.one_of(values, st.just('{"ranking": ["A", "B"]}'))
messages = st.fixed_dictionaries(
    {}, optional={"content": contents, "refusal": values, "tool_calls": values, "reasoning_content": values}
)
choices = st.fixed_dictionaries(
    {"message": st.one_of(messages, values)}, optional={"finish_reason": values, "error": values}
)
completions = st.fixed_dictionaries(
    {"choices": st.one_of(st.lists(choices, min_size=1, max_size=2), values)},
    optional={
        "usage": st.one_of(
            values, st.fixed_dictionaries({"prompt_tokens": scalars, "completion_tokens": scalars, "total": scalars})
        ),
        "error": values,
        "model": values,
    },
)
nested = st.integers(1, 200_000).map(lambda depth: b'{"choices":' + b"[" * depth)
bodies = st.one_of(
    st.one_of(completions, values).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    nested,
)
statuses = st.one_of(
    st.sampled_from([200, 200, 200, 400, 401, 402, 403, 404, 422, 429, 500, 503, 529]), st.integers(100, 999)
)
header_values = st.one_of(
    st.sampled_from(["gzip", "deflate", "br", "chunked", "inf", "-1", "1e400", "application/json", "text/html", KEY]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
header_names = st.sampled_from(
    [
        "Content-Encoding",
        "Content-Type",
        "Retry-After",
        "retry-after-ms",
        "Location",
        "Transfer-Encoding",
        "X-Should-Retry",
    ]
)
headers = st.dictionaries(header_names, header_values, max_size=3)


def raw_response(status, body, more, cut):
    """Return the bytes of a response, some of them cut off or with a wrong length."""
    # Closed, since the server closes: a request on a connection that is just closing would be a fault of its own.
    lines = [f"HTTP/1.1 {status} X", "Connection: close", *(f"{name}: {value}" for name, value in more.items())]
    if "Transfer-Encoding" not in more:
        lines.append(f"Content-Length: {len(body)}")
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return raw[: len(raw) - cut] if cut else raw


class Loop:
    """An event loop in a thread with one client, so that an example costs one request and no set-up."""

    def __init__(self, server):
        self.loop, self.client = asyncio.new_event_loop(), None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        judge = JudgeSettings(kind="openai", model="m", timeout_seconds=60.0)
        self.run(self._connect(judge, server.url))

    async def _connect(self, judge, url):
        self.client = JudgeClient(judge, url, KEY, Price(prompt=1.0, completion=1.0))

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(90)

    def close(self):
        self.run(self.client.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def provider():
    with RawServer(b"") as server:
        loop = Loop(server)
        yield server, loop
        loop.close()


def outcome(loop, work):
    """Return the reply, or the error if it is ours."""
    try:
        return loop.run(work)
    except JudgeError as error:
        return error


@FUZZ
@given(status=statuses, body=bodies, more=headers, cut=st.sampled_from([0, 0, 0, 1, 7]), packed=st.booleans())
def test_only_errors_of_ours_come_out_of_any_response(provider, status, body, more, cut, packed):
    """Prevents one odd response of a provider from ending a run, and a key from reaching a message."""
    server, loop = provider
    if packed and more.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)
    server.raw = raw_response(status, body, more, cut)
    found = outcome(loop, loop.client.complete(call(0)))
    assert KEY not in str(found)
    if isinstance(found, Reply):
        assert KEY not in found.text + found.model + found.finish_reason
        assert 0 <= found.prompt_tokens <= MAX_TOKENS
        assert 0 <= found.completion_tokens <= MAX_TOKENS


@FUZZ
@given(body=completions, text=st.sampled_from(["K7 > M3", '{"ranking": ["A"]}']), extra=values)
def test_an_answer_is_kept_whatever_stands_around_it(provider, body, text, extra):
    """Prevents a paid answer from being lost to a strange count, field or name beside it."""
    server, loop = provider
    message = {"role": "assistant", "content": text, "reasoning": extra, "annotations": extra}
    whole = {**body, "choices": [{"message": message, "finish_reason": "stop", "logprobs": extra}, extra]}
    server.raw = raw_response(200, json.dumps(whole).encode(), {"Content-Type": "application/json"}, 0)
    found = outcome(loop, loop.client.complete(call(0)))
    assert isinstance(found, Reply)
    assert found.text == text


@FUZZ
@given(line=values, body=completions, status=st.one_of(statuses, values))
def test_only_results_come_out_of_any_line_of_a_batch(provider, line, body, status):
    """Prevents one odd line from losing the replies of its whole batch."""
    _, loop = provider
    api = BatchApi(loop.client)
    for odd in (line, {"custom_id": "k", "response": {"status_code": status, "body": body}, "error": line}):
        if isinstance(odd, dict):
            assert isinstance(api.result(odd), Reply | JudgeError)


@pytest.fixture
def database(migrated_sqlite, tmp_path):
    """One kind of database for the fuzz test; its limits on numbers are those of Python's driver."""
    path = tmp_path / "memory.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{path}"


def test_any_reply_can_be_stored(provider, store):
    """Prevents a paid reply from being lost because the database does not take it."""
    server, loop = provider
    round_ = opened(store)
    estimator = CostEstimator(Price(prompt=1.0, completion=1.0))

    @settings(FUZZ, max_examples=EXAMPLES // 3)
    @given(body=completions)
    def stored(body):
        server.raw = raw_response(200, json.dumps(body).encode(), {"Content-Type": "application/json"}, 0)
        found = outcome(loop, loop.client.complete(call(0)))
        reply = found if isinstance(found, Reply) else getattr(found, "paid", None)
        if reply is not None:
            reply = estimator.counted(call(0), reply)
        store.calls.record(round_.id, [CallOutcome(call(0), reply, None if isinstance(found, Reply) else str(found))])

    stored()
