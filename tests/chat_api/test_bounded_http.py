"""Responses are read up to a limit, compressed or not, and a longer one ends early."""

import asyncio
import gzip
import json
import zlib

import pytest

from cyclealign.chat_api import bounded_http
from cyclealign.chat_api.client import JudgeClient
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeCallFailed, JudgeFaltered
from tests.support.faulty_judge import response
from tests.support.local_judge import completion
from tests.support.raw_server import RawServer
from tests.support.store_values import call

BODY = json.dumps(completion("K7 > M3")).encode()


def ask(server):
    async def run():
        async with JudgeClient(JudgeSettings(kind="openai", timeout_seconds=20), server.url, "a-key") as client:
            return await client.complete(call(0))

    return asyncio.run(run())


def compressed(body, encoding):
    raw = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    return response(200, raw, more=f"Content-Encoding: {encoding}\r\n")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_reply_is_read(encoding):
    """Prevents a bound that breaks gateways which compress."""
    with RawServer(compressed(BODY, encoding)) as server:
        assert ask(server).text == "K7 > M3"


def test_an_endless_reply_is_cut_off(monkeypatch):
    """Prevents 800 MB in memory in eight seconds."""
    monkeypatch.setattr(bounded_http, "MAX_REPLY_BYTES", 2**20)
    head = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n"
    with RawServer(head, endless=b" " * 2**16) as server, pytest.raises(JudgeCallFailed, match="longer than 1 MiB"):
        ask(server)
    assert server.sent < 64 * 2**20  # of the buffers of the sockets


def test_a_small_body_that_decompresses_to_a_large_one_is_cut_off(monkeypatch):
    """Prevents a gzip bomb from filling the memory: 64 MiB in 64 kB."""
    monkeypatch.setattr(bounded_http, "MAX_REPLY_BYTES", 2**20)
    with RawServer(compressed(b" " * 2**26, "gzip")) as server, pytest.raises(JudgeCallFailed, match="longer than"):
        ask(server)


@pytest.mark.parametrize(
    "raw",
    [
        response(200, b"not gzip", more="Content-Encoding: gzip\r\n"),
        response(200, gzip.compress(BODY)[:-20], more="Content-Encoding: gzip\r\n"),
        response(200, BODY, more="Content-Encoding: br\r\n"),
        response(200, BODY, more="".join(f"X-{number}: y\r\n" for number in range(1_000))),
        response(200, BODY, more=f"X-Long: {'y' * 20_000}\r\n"),
        b"HTTP/1.1 200 X\r\nContent-Length: many\r\n\r\n",
        b"HTTP/9 nonsense\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:9/steal\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_response_that_is_no_valid_http_is_a_fault_of_that_call(raw):
    """Prevents an error of a library from ending the run, and the key from following a redirection."""
    with RawServer(raw) as server, pytest.raises(JudgeCallFailed) as caught:
        ask(server)
    assert isinstance(caught.value, JudgeFaltered) or "redirects to http://127.0.0.1:9." in str(caught.value)
