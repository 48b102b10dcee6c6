"""The simulated judge as a kind of judge (`cyclealign.judge.backends.JudgeBackend`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from cyclealign.chat_api.batch import BatchLog
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.connection import connect
from cyclealign.chat_api.prices import Price, configured_price
from cyclealign.config import JudgeSettings


class SimulatedBackend:
    """The demo's local judge: its server runs as a child process, unless the settings name an address."""

    needs_key = False

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings

    @property
    def identity(self) -> tuple[object, ...]:
        """Return kind, address and position bias."""
        return self._settings.kind, (self._settings.base_url or "").rstrip("/"), self._settings.position_bias

    @property
    def key_host(self) -> tuple[str, str] | None:
        """Return None: no key is sent."""
        return None

    @property
    def location(self) -> str:
        """Return the address for messages; its port differs with each start."""
        return self._settings.base_url or "the simulated judge"

    @contextmanager
    def start(self) -> Iterator[str | None]:
        """Yield the configured base URL, or that of a server in a child process, which ends with the block."""
        if self._settings.base_url:
            yield self._settings.base_url
            return
        # Imported here: most commands never start the judge, and its model needs numpy.
        from cyclealign.demo.judge.process import SimulatedJudge

        with SimulatedJudge(position_bias=self._settings.position_bias) as judge:
            yield judge.base_url

    def connect(
        self, base_url: str | None, api_key: str, price: Price, batches: BatchLog
    ) -> AbstractAsyncContextManager[Complete]:
        """Yield the function that sends one call."""
        return connect(self._settings, base_url, api_key, price, batches)

    def price(self) -> Price | None:
        """Return the price from the settings, else zero."""
        price = configured_price(self._settings)
        return Price() if price is None else price

    def token_counter(self) -> Callable[[str], int] | None:
        """Return the simulated judge's own rule."""
        from cyclealign.demo.judge.model import count_tokens

        return count_tokens

    def endpoint(self, base_url: str | None) -> str:
        """Return one name for all its servers: each start takes another port."""
        return self._settings.base_url or "simulated"
