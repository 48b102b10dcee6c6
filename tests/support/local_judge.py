"""A scripted judge over HTTP on the loopback address, which counts requests and returns errors on demand."""

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
    """Return a verdict by the texts alone: more different words are better, ties by text.

    Answers that are empty or look like an attack come last, so that this judge passes the health check.
    """

    def badness(answer: tuple[str, str]) -> tuple[bool, int, str]:
        _, text = answer
        return bool(attack_signals(text)), -len(set(text.split())), text

    best_first = sorted(answers, key=badness)
    return json.dumps({"ranking": [label for label, _ in best_first]})


def unsure(answers: Answers) -> str:
    """Return a verdict with the best answer first and the others in the order shown, so that orders disagree."""
    best = json.loads(most_words_first(answers))["ranking"][0]
    return json.dumps({"ranking": [best, *[label for label, _ in answers if label != best]]})


class LocalJudge:
    """Use as a context manager.

    Args:
        script: returns the text of the reply to the labelled answers of a request.
        status: returns the HTTP status of the n-th request; default: always 200.

    Attributes:
        url: OpenAI-compatible address.
        asked: number of requests by hash of the body.
        answered: number of replies with a verdict by hash of the body.
        headers: authorization headers.
        all_headers: all headers of each request, names in lower case.
        bodies: parsed requests.
        pings: parsed requests without a list to rank, as the checks before a run send them; counted nowhere else.
        ping_status: HTTP status of the replies to them.
    """

    def __init__(self, script: Script = most_words_first, status: Callable[[int], int] | None = None) -> None:
        self.script, self.status = script, status
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.headers: list[str] = []
        self.all_headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.pings: list[dict[str, Any]] = []
        self.ping_status = 200
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, raw: bytes) -> tuple[int, Any]:
        """Return HTTP status and body (a JSON value, or bytes) of the reply to a request."""
        body, key = json.loads(raw), hashlib.sha256(raw).hexdigest()
        if not answers_in(body["messages"][-1]["content"]):
            return self._pong(body)
        with self._lock:
            number = sum(self.asked.values())
            self.asked[key] += 1
            self.bodies.append(body)
        status = self.status(number) if self.status else 200
        if status != 200:
            return status, {"error": {"message": f"scripted {status}", "type": "scripted"}}
        text = self.script(answers_in(body["messages"][-1]["content"]))
        self.answered[key] += 1
        return 200, completion(text)

    def _pong(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.pings.append(body)
        if self.ping_status != 200:
            return self.ping_status, {"error": {"message": f"scripted {self.ping_status}", "type": "scripted"}}
        return 200, completion("OK", tokens=2)

    def _handler(judge) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                judge.headers.append(self.headers.get("Authorization", ""))
                judge.all_headers.append({name.lower(): value for name, value in self.headers.items()})
                status, value = judge.reply(self.rfile.read(int(self.headers["Content-Length"])))
                raw = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self) -> None:
                raw = json.dumps({"object": "list", "data": [{"id": "local"}, {"id": "local-large"}]}).encode()
                self.send_response(200 if self.path.endswith("/models") else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def completion(text: str | None, finish_reason: str = "stop", tokens: int = 10, **message: Any) -> dict[str, Any]:
    """Return the body of a chat completion; ``message`` are further fields of its message."""
    usage = {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    content = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": content, "finish_reason": finish_reason}
    common = {"id": "c", "object": "chat.completion", "created": 0, "model": "local-judge-1"}
    return {**common, "choices": [choice], "usage": usage}


def answers_in(content: str) -> Answers:
    """Return the labelled answers of a rendered question, delimited by the marks of prompts/rank.jinja."""
    match = re.search(r"\[\[question (\w+)\]\]", content)
    if match is None:
        return []
    fence = match.group(1)
    return re.findall(rf"\[\[answer (\w+) {fence}\]\]\n(.*?)\n\[\[/answer \1 {fence}\]\]", content, re.DOTALL)
