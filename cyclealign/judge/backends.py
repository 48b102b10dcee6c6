"""Kinds of judge: the protocol that each one implements, and the OpenAI-compatible one.

The registry from `judge.kind` to class is `cyclealign.loop.backends`; the simulated judge's class stands next to the
simulated judge, in `cyclealign.demo.judge.backend`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Protocol
from urllib.parse import urlsplit

from cyclealign.chat_api.batch import BatchLog
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.connection import connect
from cyclealign.chat_api.prices import Price, configured_price, listed_price
from cyclealign.config import JudgeSettings


class JudgeBackend(Protocol):
    """One kind of judge, built from its settings. All differences between kinds are behind this protocol."""

    @property
    def needs_key(self) -> bool:
        """Return whether calls carry an API key."""

    @property
    def identity(self) -> tuple[object, ...]:
        """Return the values that tell apart two judges with the same model name."""

    @property
    def key_host(self) -> tuple[str, str] | None:
        """Return scheme and host that receive the API key; None: no key is sent."""

    @property
    def location(self) -> str:
        """Return the judge's address for messages."""

    def start(self) -> AbstractContextManager[str | None]:
        """Yield the base URL, with a server behind it for the length of the block. None: the client's default.

        Raises:
            JudgeUnavailable: a local server did not start.
        """

    def connect(
        self, base_url: str | None, api_key: str, price: Price, batches: BatchLog
    ) -> AbstractAsyncContextManager[Complete]:
        """Yield the function that sends one call and returns its priced reply. Use inside one event loop.

        It raises the errors of `cyclealign.chat_api.client.JudgeClient.complete`.
        """

    def price(self) -> Price | None:
        """Return the model's price per million tokens; None if it is unknown.

        Raises:
            BadConfig: the price table is needed and cannot be read.
        """

    def token_counter(self) -> Callable[[str], int] | None:
        """Return the function that counts the tokens of a text exactly; None if the tokenizer is unknown."""

    def endpoint(self, base_url: str | None) -> str:
        """Return the name under which to remember capabilities of the endpoint, such as JSON schemas."""


class OpenAIBackend:
    """Any endpoint with the OpenAI chat completions protocol."""

    needs_key = True

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings

    @property
    def identity(self) -> tuple[object, ...]:
        """Return kind and address."""
        return self._settings.kind, (self._settings.base_url or "").rstrip("/")

    @property
    def key_host(self) -> tuple[str, str] | None:
        """Return scheme and host of the address; both empty for the library's default."""
        parts = urlsplit(self._settings.base_url or "")
        return parts.scheme, parts.netloc

    @property
    def location(self) -> str:
        """Return the address for messages."""
        return self._settings.base_url or "the openai library's default address"

    def start(self) -> AbstractContextManager[str | None]:
        """Yield the configured base URL; nothing is started."""
        return nullcontext(self._settings.base_url)

    def connect(
        self, base_url: str | None, api_key: str, price: Price, batches: BatchLog
    ) -> AbstractAsyncContextManager[Complete]:
        """Yield the function that sends one call."""
        return connect(self._settings, base_url, api_key, price, batches)

    def price(self) -> Price | None:
        """Return the price from the settings, else from the price table."""
        price = configured_price(self._settings)
        return listed_price(self._settings) if price is None else price

    def token_counter(self) -> Callable[[str], int] | None:
        """Return None: each provider has its own tokenizer."""
        return None

    def endpoint(self, base_url: str | None) -> str:
        """Return the address."""
        return base_url or ""
