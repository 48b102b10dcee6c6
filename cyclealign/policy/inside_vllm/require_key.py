"""Middleware for vLLM's server: every path requires the key. It runs in vLLM's interpreter: standard library only.

vLLM itself requires its key on /v1 and a few other paths. Its development paths, which put the engine to sleep, reset
its caches and call its methods, would be open to every program on this machine and every page in its browser.
"""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

KEY_VARIABLE = "VLLM_API_KEY"
ASGICallable = Callable[..., Awaitable[Any]]


class RequireKey:
    """ASGI middleware; the key is the one that vLLM reads from the environment."""

    def __init__(self, app: ASGICallable) -> None:
        self.app = app
        self.expected = f"Bearer {os.environ[KEY_VARIABLE]}".encode()

    async def __call__(self, scope: dict[str, Any], receive: ASGICallable, send: ASGICallable) -> None:
        """Forward the request, or reply 401 without the key."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        authorization = dict(scope.get("headers", [])).get(b"authorization", b"")
        if scope["type"] == "http" and hmac.compare_digest(authorization, self.expected):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
