"""HTTP client of a vLLM server: its OpenAI-compatible paths, and the development paths of a managed server."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from cyclealign.errors import EngineRefused


class ServerUnavailable(Exception):
    """The server does not answer, or its engine has died. `ServerLifecycle` decides whether to restart it."""


class VllmClient:
    """Requests to one server; thread-safe.

    Args:
        url: without ``/v1``.
        timeout_seconds: of one request. A request holds all samples of one prompt.
    """

    def __init__(self, url: str, key: str, timeout_seconds: float) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},  # a server may have none
            timeout=httpx.Timeout(timeout_seconds, connect=10.0),
            limits=httpx.Limits(max_connections=None),
            trust_env="//127.0.0.1:" not in url,  # a managed server is never behind a proxy
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def healthy(self) -> bool:
        """Return whether the server answers and its engine is alive."""
        try:
            return self._http.get("/health", timeout=10.0).status_code == 200
        except httpx.HTTPError:
            return False

    def models(self) -> list[dict[str, Any]]:
        """Return the cards of the base model and of the loaded adapters."""
        cards: list[dict[str, Any]] = self._request("GET", "/v1/models")["data"]
        return cards

    def version(self) -> str:
        """Return vLLM's version."""
        return str(self._request("GET", "/version").get("version", "unknown"))

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a completion request and return the reply."""
        return self._request("POST", "/v1/completions", body)

    def load_adapter(self, name: str, folder: str) -> None:
        """Load an adapter; ``name`` must be new to this server."""
        self._request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})

    def unload_adapter(self, name: str) -> None:
        """Unload an adapter; requests in flight still finish with it."""
        self._request("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def reset_prefix_cache(self) -> bool:
        """Drop cached prompts; return False if requests still hold some of them. (Development path.)"""
        return bool(self._request("POST", "/reset_prefix_cache").get("success", True))

    def sleep(self, level: int) -> None:
        """Release the accelerator's memory. (Development path.)"""
        self._request("POST", f"/sleep?level={level}&mode=wait")

    def wake(self, level: int) -> None:
        """Wake up from a sleep of that level. (Development path.)"""
        if level == 1:
            self._request("POST", "/wake_up")
            return
        # Level 2 dropped the weights: allocate their memory, reload them from disk, then allocate the cache.
        self._request("POST", "/wake_up?tags=weights")
        self._request("POST", "/collective_rpc", {"method": "reload_weights"})
        self._request("POST", "/wake_up?tags=kv_cache")

    def _request(self, method: str, path: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON reply, or {} if the reply is not a JSON object.

        Raises:
            ServerUnavailable: there is no reply, or the engine has died.
            EngineRefused: the server rejects the request; contains the server's message.
        """
        try:
            reply = self._http.request(method, path, json=payload)
        except httpx.TransportError as error:
            raise ServerUnavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if reply.status_code >= 400:
            message = _error_message(reply)
            if reply.status_code >= 500 and not self.healthy():
                raise ServerUnavailable(message)
            raise EngineRefused(f"vLLM at {self.url} rejects {path.partition('?')[0]} ({reply.status_code}): {message}")
        try:
            body = reply.json()
        except ValueError:  # some paths reply with plain text
            return {}
        return body if isinstance(body, dict) else {}


def _error_message(reply: httpx.Response) -> str:
    """Return the message of an error reply as one line of at most 600 characters."""
    try:
        body = reply.json()
        error = body.get("error", body)
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, AttributeError):
        text = reply.text
    return " ".join(str(text).split())[:600] or reply.reason_phrase
