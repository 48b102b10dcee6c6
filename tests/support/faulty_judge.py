"""A judge over HTTP with random faults, of all kinds seen with providers, from a seed; otherwise it ranks correctly."""

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from tests.support.local_judge import answers_in, most_words_first

FAULTS = (
    *("429 with a time", "429", "500", "502 in HTML", "hang", "cut", "wrong content type", "empty choices", "refusal"),
    *("truncated JSON", "doubled label", "missing label", "200 000 characters"),
)


def completion(text: str | None, refusal: str | None = None) -> dict[str, Any]:
    """Return the body of a chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "faulty-1",
        "choices": [choice],
        "usage": usage,
    }


class FaultyJudge:
    """Use as a context manager.

    Args:
        share: share of the requests that get a fault.
        seed: of the random faults.
        kinds: faults to choose from.

    Attributes:
        url: OpenAI-compatible address.
        struck: number of requests by fault, or by "none".
        served: number of replies with a verdict, readable or not, by hash of the request.
        most: largest number of concurrent requests.
    """

    def __init__(self, share: float, seed: int, kinds: tuple[str, ...] = FAULTS) -> None:
        self.share, self.kinds, self.draw = share, kinds, random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.requests = self.under_way = self.most = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
                self.requests += 1
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                try:
                    await self._answer(body, writer)
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        key = hashlib.sha256(raw).hexdigest()
        fault = self.draw.choice(self.kinds) if self.draw.random() < self.share else "none"
        self.struck[fault] += 1
        await asyncio.sleep(0.002)
        if fault == "hang":
            await self._stop.wait()
            raise ConnectionError
        if fault == "cut":
            whole = response(200, json.dumps(completion("{}")).encode())
            writer.write(whole[:-40])
            await writer.drain()
            raise ConnectionError
        if fault in STATUS:
            writer.write(STATUS[fault])
            return
        text = most_words_first(answers_in(json.loads(raw)["messages"][1]["content"]))
        if fault in VERDICT:
            text = VERDICT[fault](text)
        if fault != "200 000 characters":
            self.served[key] += 1
        writer.write(response(200, json.dumps(completion(text)).encode()))


def response(status: int, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    """Return a whole HTTP response; ``more`` are further header lines."""
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def _relabelled(text: str, change: Callable[[list[str]], list[str]]) -> str:
    return json.dumps({"ranking": change(json.loads(text)["ranking"])})


ERROR = json.dumps({"error": {"message": "scripted", "type": "scripted"}}).encode()
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
STATUS = {
    "429 with a time": response(429, ERROR, more="Retry-After: 0.01\r\n"),
    "429": response(429, ERROR),
    "500": response(500, ERROR),
    "502 in HTML": response(502, HTML, "text/html"),
    "wrong content type": response(200, b"<html>Please log in</html>", "text/html"),
    "empty choices": response(200, json.dumps({**completion(""), "choices": []}).encode()),
    "refusal": response(200, json.dumps(completion(None, "I cannot rank these.")).encode()),
    "truncated JSON": response(200, json.dumps(completion('{"ranking": []}')).encode()[:60]),
}
VERDICT: dict[str, Callable[[str], str]] = {
    "doubled label": lambda text: _relabelled(text, lambda labels: [*labels[:-1], labels[0]]),
    "missing label": lambda text: _relabelled(text, lambda labels: labels[:-1]),
    "200 000 characters": lambda text: text + "x" * 200_000,
}
