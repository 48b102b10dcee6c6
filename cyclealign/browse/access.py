"""Access to the pages: a token, the names under which they are reached, and headers that confine what a page may do."""

import hmac
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

COOKIE = "cyclealign-browse"
TOKEN = "token"  # noqa: S105 - the name of a query parameter
# No script at all, nothing from elsewhere, no frames: text of a model that slipped through could do nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
Next = Callable[[Request], Awaitable[Response]]


def token_of(home: Path) -> str:
    """Return the token of a home folder, made at first use in a file that its owner alone can read."""
    path = home / "browse-token"
    home.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        if kept := path.read_text(encoding="ascii").strip():
            return kept
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)  # of a start that was cut off
    token = secrets.token_urlsafe(16)  # short enough for a line of a terminal
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)
    return token


class Access:
    """Middleware: requests need the token, first in the address, then in a cookie, and one of the server's names.

    The check of the name keeps other sites from reaching the server through a name of theirs that resolves to it.

    Args:
        token: None: no token is needed.
        names: host names and addresses; None: any.
    """

    def __init__(self, token: str | None, names: frozenset[str] | None) -> None:
        self._token, self._names = token, names

    async def __call__(self, request: Request, call_next: Next) -> Response:
        response = self._refused(request) or self._with_cookie(request) or await call_next(request)
        response.headers.update(HEADERS)
        return response

    def _refused(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").rpartition("@")[2]
        name = host.rsplit(":", 1)[0] if host.rpartition("]")[2].startswith(":") or "[" not in host else host
        if self._names is not None and name not in self._names:
            return PlainTextResponse(f"This server is not reached as '{name[:100]}'.\n", 421)
        given = request.query_params.get(TOKEN) or request.cookies.get(COOKIE, "")
        if self._token is not None and not hmac.compare_digest(given.encode(), self._token.encode()):
            words = "Open the address that `cyclealign browse` or `cyclealign up` printed: it holds the access token.\n"
            return PlainTextResponse(words, 403)
        return None

    def _with_cookie(self, request: Request) -> Response | None:
        """Return a redirect to the same page without the token, which then stays out of links and of the history."""
        if self._token is None or TOKEN not in request.query_params:
            return None
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != TOKEN])
        response = RedirectResponse(request.url.path + (f"?{rest}" if rest else ""), 303)
        response.set_cookie(COOKIE, self._token, httponly=True, samesite="lax", max_age=30 * 24 * 3600)
        return response
