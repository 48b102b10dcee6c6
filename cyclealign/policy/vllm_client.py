"""HTTP to a vLLM server: its OpenAI-compatible paths, and the development paths of a server of our own."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from cyclealign.errors import EngineRefused


class EngineGone(Exception):
    """The server does not answer, or broke off. Whoever holds the engine decides what becomes of it."""


class EngineClient:
    """Requests to one server. May be used from several threads at once.

    Args:
        url: without ``/v1``.
        timeout_seconds: for one request; a batch of long answers is one request a prompt.
    """

    def __init__(self, url: str, key: str, timeout_seconds: float) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_seconds, connect=10.0),
            limits=httpx.Limits(max_connections=None),
            trust_env="//127.0.0.1:" not in url,  # no proxy between us and a server of our own
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def healthy(self) -> bool:
        """Whether the server answers and its engine lives."""
        try:
            return self._http.get("/health", timeout=10.0).status_code == 200
        except httpx.HTTPError:
            return False

    def models(self) -> list[dict[str, Any]]:
        """What it serves: the base model and the adapters that are loaded."""
        found: list[dict[str, Any]] = self._ask("GET", "/v1/models")["data"]
        return found

    def version(self) -> str:
        """vLLM's version."""
        return str(self._ask("GET", "/version").get("version", "unknown"))

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request for completions."""
        return self._ask("POST", "/v1/completions", body)

    def load_adapter(self, name: str, folder: str) -> None:
        """Load an adapter under a name that was never used before on this server."""
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; requests that are under way finish with it."""
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def reset_prefix_cache(self) -> bool:
        """Drop cached prompts; False while requests hold some of them. (Development path.)"""
        return bool(self._ask("POST", "/reset_prefix_cache").get("success", True))

    def sleep(self, level: int) -> None:
        """Give the accelerator's memory up. (Development path.)"""
        self._ask("POST", f"/sleep?level={level}&mode=wait")

    def wake(self, level: int) -> None:
        """Come back from a sleep of that level. (Development path.)"""
        if level == 1:
            self._ask("POST", "/wake_up")
            return
        # Level 2 has dropped the weights: memory for them first, then the weights from disk, then the cache.
        self._ask("POST", "/wake_up?tags=weights")
        self._ask("POST", "/collective_rpc", {"method": "reload_weights"})
        self._ask("POST", "/wake_up?tags=kv_cache")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON reply, or {} where there is none.

        Raises:
            EngineGone: no reply, or one that says that the engine is dead.
            EngineRefused: the request is refused, with the server's own words.
        """
        try:
            reply = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise EngineGone(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if reply.status_code >= 400:
            words = _message(reply)
            if reply.status_code >= 500 and not self.healthy():
                raise EngineGone(words)
            raise EngineRefused(f"vLLM at {self.url} refuses {path.partition('?')[0]} ({reply.status_code}): {words}")
        try:
            found = reply.json()
        except ValueError:  # some paths answer with a sentence
            return {}
        return found if isinstance(found, dict) else {}


def _message(reply: httpx.Response) -> str:
    """What the server says about an error, in a line of reasonable length."""
    try:
        found = reply.json()
        error = found.get("error", found)
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, AttributeError):
        text = reply.text
    return " ".join(str(text).split())[:600] or reply.reason_phrase
