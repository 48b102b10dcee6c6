"""A judge over real HTTP on loopback, scripted by the test: it counts what it was asked and misbehaves on demand."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cyclealign.judge.adversarial import attack_signals

Answers = list[tuple[str, str]]  # (label, text) in the order shown
Script = Callable[[Answers], str]


def most_words_first(answers: Answers) -> str:
    """A verdict that depends on the texts alone: more different words are better, ties by text.

    Answers that say nothing or look like an attack come last, so that this judge is fit to be asked.
    """
    best_first = sorted(answers, key=lambda each: (bool(attack_signals(each[1])), -len(set(each[1].split())), each[1]))
    return json.dumps({"ranking": [label for label, _ in best_first]})


def unsure(answers: Answers) -> str:
    """A judge that knows the best answer, and of the others likes what it sees first: its orders differ."""
    best = json.loads(most_words_first(answers))["ranking"][0]
    return json.dumps({"ranking": [best, *[label for label, _ in answers if label != best]]})


class LocalJudge:
    """Use as a context manager; ``url`` is its OpenAI-compatible address.

    ``status(n)`` gives the HTTP status of the n-th request (200 where it is None); ``asked`` counts request bodies and
    ``answered`` those that were given a verdict.
    """

    def __init__(self, script: Script = most_words_first, status: Callable[[int], int] | None = None) -> None:
        self.script, self.status = script, status
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.headers: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, raw: bytes) -> tuple[int, dict[str, Any]]:
        body, key = json.loads(raw), hashlib.sha256(raw).hexdigest()
        with self._lock:
            number = sum(self.asked.values())
            self.asked[key] += 1
            self.bodies.append(body)
        status = self.status(number) if self.status else 200
        if status != 200:
            return status, {"error": {"message": f"scripted {status}", "type": "scripted"}}
        text = self.script(answers_in(body["messages"][-1]["content"]))
        self.answered[key] += 1
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        common = {"id": "c", "object": "chat.completion", "created": 0, "model": "local-judge-1"}
        return 200, {**common, "choices": [choice], "usage": usage}

    def _handler(judge) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                judge.headers.append(self.headers.get("Authorization", ""))
                status, value = judge.reply(self.rfile.read(int(self.headers["Content-Length"])))
                raw = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def answers_in(content: str) -> Answers:
    """The labelled answers of a rendered question, as the marks of prompts/rank.jinja delimit them."""
    match = re.search(r"\[\[question (\w+)\]\]", content)
    if match is None:
        return []
    fence = match.group(1)
    return re.findall(rf"\[\[answer (\w+) {fence}\]\]\n(.*?)\n\[\[/answer \1 {fence}\]\]", content, re.DOTALL)
