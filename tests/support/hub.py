"""A local stand-in for the Hugging Face hub, with its status codes and error headers, and a process that loads from it.

``python -m tests.support.hub CASES`` loads each case, a JSON list of [model id, revision, token], from the hub at
HF_ENDPOINT, and prints a JSON list: the message of each failure, or the shape of the model's first weights.
"""

import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
TOKEN = "hf_thattokenmayread"


class Hub:
    """Use as a context manager: ``open/model`` is public, ``closed/model`` gated.

    Args:
        folder: the files of both models.

    Attributes:
        url: for HF_ENDPOINT.
        asked: the paths of all requests.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refusal(self, path: str, authorization: str) -> tuple[int, str, str] | None:
        """Return status, error code and message of a refused request; None if it is served."""
        parts = path.partition("?")[0].strip("/").removeprefix("api/models/").split("/")
        model, revision = "/".join(parts[:2]), parts[3] if len(parts) > 3 else "main"
        token = authorization.removeprefix("Bearer ")
        if token and token not in (TOKEN, "hf_notallowed"):
            return 401, "", "Invalid credentials in Authorization header"
        if model == "closed/model" and token != TOKEN:
            return (403 if token else 401), "GatedRepo", f"Access to model {model} is restricted."
        if model not in ("open/model", "closed/model"):
            return 401, "RepoNotFound", "Invalid username or password."
        if revision not in REVISIONS:
            return 404, "RevisionNotFound", f"Invalid rev id: {revision}"
        return None

    def content(self, path: str) -> bytes | None:
        """Return a file, or the list of the model's files; None if there is no such page."""
        page, file = path.partition("?")[0], self.folder / path.rpartition("/")[2]
        if "/resolve/" in page:
            return file.read_bytes() if file.is_file() else None
        if not page.startswith("/api/models/") or page.endswith("/additional_chat_templates"):
            return None
        files = [{"type": "file", "path": entry.name, "oid": "0", "size": 1} for entry in self.folder.iterdir()]
        siblings = [{"rfilename": entry["path"]} for entry in files]
        whole = {"id": "any/model", "sha": COMMIT, "siblings": siblings}
        return json.dumps(files if "/tree/" in page else whole).encode()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._reply(with_body=False)

            def do_GET(self) -> None:
                self._reply(with_body=True)

            def _reply(self, with_body: bool) -> None:
                hub.asked.append(self.path)
                refused = hub.refusal(self.path, self.headers.get("Authorization", ""))
                body = None if refused else hub.content(self.path)
                if refused is None and body is None:
                    refused = 404, "EntryNotFound", "Entry not found"
                body = body or b""
                self.send_response(refused[0] if refused else 200)
                if refused:
                    self.send_header("X-Error-Code", refused[1])
                    self.send_header("X-Error-Message", refused[2])
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def load(model: str, revision: str | None) -> str:
    """Return the outcome of loading a model's tokenizer and weights."""
    from cyclealign.errors import CycleAlignError
    from cyclealign.policy.model_loading import load_model
    from cyclealign.policy.tokenizer import load_tokenizer

    try:
        load_tokenizer(model, revision)
        return f"loaded {tuple(next(load_model(model, revision, 'cpu').parameters()).shape)}"
    except CycleAlignError as error:
        return str(error)


def main() -> None:
    """Load the cases and print what came of them."""
    outcomes = []
    for model, revision, token in json.loads(sys.argv[1]):
        os.environ.pop("HF_TOKEN", None)
        if token:
            os.environ["HF_TOKEN"] = token
        outcomes.append(load(model, revision))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
