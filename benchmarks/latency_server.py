"""A chat-completions server that waits, then replies: ``python -m benchmarks.latency_server --latency-ms 200``.

As light as asyncio allows (no HTTP library), so that on a machine with few cores what is measured is the client. It
ranks the labels of the last line of the request in the order given, which is all that a client needs to go on.
"""

import argparse
import asyncio
import json
import random
import re
import sys
from typing import Any

LABELS = re.compile(rb"Rank these \d+ answers: ([A-Z0-9, ]+)\.")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Waiting(asyncio.Protocol):
    """One connection; requests on it come one after another."""

    def __init__(self, latency: float, slow_share: float, slow: float, draw: random.Random) -> None:
        self.latency, self.slow_share, self.slow, self.draw = latency, slow_share, slow, draw
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            found = re.search(rb"(?i)content-length: (\d+)", self.buffer[:end])
            whole = end + 4 + (int(found.group(1)) if found else 0)
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            seconds = self.slow if self.draw.random() < self.slow_share else self.latency
            asyncio.get_running_loop().call_later(seconds, self.answer, body)

    def answer(self, body: bytes) -> None:
        """A ranking of the labels, in the order in which they were named."""
        found = LABELS.search(body)
        labels = found.group(1).decode().split(", ") if found else []
        reply = completion(json.dumps({"ranking": labels}), len(body) // 4)
        if not self.transport.is_closing():
            self.transport.write(HEAD % len(reply) + reply)


def completion(text: str, prompt_tokens: int) -> bytes:
    """Return the body of a reply as chat-completion servers send it."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 20, "total_tokens": prompt_tokens + 20}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    common = {"id": "chatcmpl-waiting", "object": "chat.completion", "created": 0, "model": "waiting-1"}
    return json.dumps({**common, "choices": [choice], "usage": usage}).encode()


async def serve(latency: float, slow_share: float, slow: float) -> None:
    """Listen on a free loopback port, tell it on standard output, and end when standard input closes."""
    loop, draw = asyncio.get_running_loop(), random.Random(0)
    server = await loop.create_server(lambda: Waiting(latency, slow_share, slow, draw), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--slow-share", type=float, default=0.0)
    parser.add_argument("--slow-ms", type=float, default=1500.0)
    given = parser.parse_args()
    asyncio.run(serve(given.latency_ms / 1e3, given.slow_share, given.slow_ms / 1e3))


if __name__ == "__main__":
    main()
