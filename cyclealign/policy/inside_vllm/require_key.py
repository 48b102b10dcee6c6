"""A middleware for vLLM's server: every path wants the key. It runs in vLLM's interpreter: standard library only.

vLLM itself asks for its key under /v1 and the like only. The development paths, which put the engine to sleep, reset
its caches and call its methods, would answer any program of this machine, and any page in its browser.
"""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

KEY_VARIABLE = "VLLM_API_KEY"
Call = Callable[..., Awaitable[Any]]


class RequireKey:
    """ASGI middleware; the key is the one that vLLM itself reads from the environment."""

    def __init__(self, app: Call) -> None:
        self.app = app
        self.expected = f"Bearer {os.environ[KEY_VARIABLE]}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Call, send: Call) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        given = dict(scope.get("headers", [])).get(b"authorization", b"")
        if scope["type"] == "http" and hmac.compare_digest(given, self.expected):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
