"""A local stand-in for the part of the Hugging Face hub that takes uploads: all files go into the commit itself."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

REFUSED = "Bearer hf_refused"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubUploads:
    """Use as a context manager.

    Attributes:
        url: for HF_ENDPOINT.
        created: the repositories asked for.
        files: the bytes of uploaded files, by name.
        tokens: the Authorization header of every request.
    """

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str, body: bytes) -> dict[str, Any]:
        """Return the reply to a POST."""
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{self.url}/me/mine", "name": "me/mine"}
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"{self.url}/me/mine/commit/{COMMIT}", "commitOid": COMMIT}
        return {"warnings": [], "errors": []}  # the check of the card's header

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.tokens.append(self.headers.get("Authorization", ""))
                refused = hub.tokens[-1] == REFUSED
                self._send(401 if refused else 200, {} if refused else hub.reply(self.path.partition("?")[0], body))

            def do_GET(self) -> None:
                hub.tokens.append(self.headers.get("Authorization", ""))
                self._send(404, {})

            def _send(self, status: int, values: dict[str, Any]) -> None:
                reply = json.dumps(values).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
