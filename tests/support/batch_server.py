"""A provider's batch API over HTTP, limited to the paths that the openai library uses: /files and /batches."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.local_judge import LocalJudge

# (number of the line, the line) -> the result to return instead, or None
Override = Callable[[int, dict[str, Any]], dict[str, Any] | None]


class BatchServer:
    """Use as a context manager. Batches are answered by the script of a `LocalJudge` once ``ready`` is set.

    Args:
        override: may replace the result of a line.
        ends_as: final status of every batch.

    Attributes:
        asked: number of submissions by custom id.
        judge: answers the lines; another stub judge makes another provider.
        fails_after_creating: respond with 500 after a batch was created, as a lost reply would look.
        lost_replies: number of creations whose connection is closed without a reply.
        failing: statuses to respond with to the next polls and lists, one each, instead of a result.
        unlisted: number of lists that do not hold the newest batch yet.
        problem: error that makes every batch fail as a whole.
    """

    def __init__(
        self,
        override: Override = lambda number, line: None,
        ends_as: str = "completed",
        judge: LocalJudge | None = None,
    ) -> None:
        self.judge, self.override, self.ends_as = judge or LocalJudge(), override, ends_as
        self.ready = threading.Event()
        self.ready.set()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[str] = []
        self.fails_after_creating = False
        self.lost_replies = self.unlisted = 0
        self.failing: list[int] = []
        self.problem: dict[str, Any] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Create a batch from the body of a request and return it as shown to the client."""
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        self.asked.update(line["custom_id"] for line in lines)
        number = f"batch_{len(self.batches) + 1}"
        batch = {"id": number, "object": "batch", "created_at": 0, "status": "in_progress", **asked, "lines": lines}
        self.batches[number] = batch
        return self.shown(batch)

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch for the client; complete it first if the server is ready."""
        if self.ready.is_set() and batch["status"] == "in_progress":
            batch["status"] = self.ends_as
            if self.problem:
                batch["errors"] = {"object": "list", "data": [self.problem]}
                return {key: value for key, value in batch.items() if key != "lines"}
            done = [self.result(number, line) for number, line in enumerate(batch["lines"])]
            name = f"file-{batch['id']}-out"
            self.files[name] = "\n".join(json.dumps(row) for row in reversed(done) if row).encode()
            batch["output_file_id"] = name
        return {key: value for key, value in batch.items() if key != "lines"}

    def result(self, number: int, line: dict[str, Any]) -> dict[str, Any]:
        """Return the result of one line of a batch."""
        replacement = self.override(number, line)
        if replacement is not None:
            return replacement
        status, body = self.judge.reply(json.dumps(line["body"]).encode())
        return {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}

    def answer(self, method: str, path: str, raw: bytes) -> tuple[int, bytes] | None:
        """Return status and body of the reply to a request; None: the connection closes."""
        if method == "GET" and self.failing:
            return self.failing.pop(0), b'{"error": {"message": "bad gateway"}}'
        if (method, path) == ("POST", "/v1/files"):
            upload = re.search(rb'name="file"; filename="[^"]*"\r\n.*?\r\n\r\n(.*?)\r\n--', raw, re.DOTALL)
            assert upload is not None
            name = f"file-{len(self.files) + 1}"
            self.files[name] = upload.group(1)
            value: dict[str, Any] = {"id": name, "object": "file", "purpose": "batch", "filename": "x", "bytes": 1}
            return 200, json.dumps({**value, "created_at": 0, "status": "processed"}).encode()
        if (method, path) == ("POST", "/v1/batches"):
            batch = self.create(json.loads(raw))
            if self.lost_replies:
                self.lost_replies -= 1
                return None
            return (500, b"{}") if self.fails_after_creating else (200, json.dumps(batch).encode())
        if path.startswith("/v1/files/"):
            return 200, self.files[path.split("/")[3]]
        if path.startswith("/v1/batches/"):
            return 200, json.dumps(self.shown(self.batches[path.split("/")[3]])).encode()
        batches = list(self.batches.values())
        if self.unlisted:
            self.unlisted -= 1
            batches = batches[:-1]
        listed = {"object": "list", "data": [self.shown(batch) for batch in batches], "has_more": False}
        return 200, json.dumps(listed).encode()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                server.headers.append(self.headers.get("Authorization", ""))
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = server.answer(self.command, self.path.partition("?")[0], raw)
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_any  # noqa: N815 - names of the base class

            def log_message(self, *_: object) -> None:
                pass

        return Handler
