"""The life of the engine behind a policy: started or connected to when first asked, put to sleep, started again.

A server of ours is also started again where it is to serve other weights.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

from cyclealign.config import EngineSettings
from cyclealign.errors import EngineFailed
from cyclealign.policy.vllm_client import EngineClient, EngineGone
from cyclealign.policy.vllm_server import ManagedEngine, Served, log_file, rest_of

logger = logging.getLogger(__name__)
SLEEP_LEVEL = {"level_1": 1, "level_2": 2}
WANTS_OUR_OWN = (
    "training.method = 'full' wants a vLLM server of our own, which is started again on each round's weights, and "
    "engine.base_url names another's. Leave it out, or train with 'lora'."
)


class Serving:
    """One server at a time: ours, or the one at ``engine.base_url``.

    ``life`` counts its starts and wakes: what was on it in an earlier life is not to be relied on. The caller holds a
    lock.

    Args:
        served: what a server of ours is to serve, asked each time it is wanted: another one takes the place of one
            that serves something else.
        say: told what takes long or went wrong, for the person who waits.
    """

    def __init__(self, settings: EngineSettings, served: Callable[[], Served], say: Callable[[str], None]) -> None:
        self.settings, self._served, self._say = settings, served, say
        self._client: EngineClient | None = None
        self._engine: ManagedEngine | None = None
        self._serves: Served | None = None
        self._asleep = 0
        self.base_name = ""
        self.version = ""
        self.life = 0

    @property
    def ours(self) -> bool:
        """Whether the server is one that we start, and whose development paths may be used."""
        return self.settings.base_url is None

    @property
    def process_group(self) -> int | None:
        """The process group of our server; None while there is none."""
        return self._engine.pid if self._engine else None

    def up(self) -> EngineClient:
        """A client of the server, started or connected to if need be, and awake.

        Raises:
            EngineFailed: it does not start, or does not answer.
        """
        if self._engine is not None and self._serves != self._served():
            self.stop()
        if self._client is None:
            self._client = self._connected() if self.settings.base_url else self._started()
            self.version = self._client.version()
            self.life += 1
        if self._asleep:
            level, self._asleep = self._asleep, 0
            self._client.wake(level)
            self.life += 1
        return self._client

    def _started(self) -> EngineClient:
        self._say("Starting vLLM (from half a minute to some minutes).")
        self._serves = self._served()
        self._engine = ManagedEngine(self.settings, self._serves)
        try:
            self._engine.wait_until_up()
        except BaseException:
            self.stop()
            raise
        self.base_name = self._engine.name
        return self._engine.client

    def _connected(self) -> EngineClient:
        url = self.settings.base_url or ""
        key = os.environ.get(self.settings.api_key_variable, "")
        client = EngineClient(url.rstrip("/").removesuffix("/v1"), key, self.settings.timeout_seconds)
        try:
            names = [each["id"] for each in client.models()]
        except EngineGone as error:
            client.close()
            raise EngineFailed(f"No vLLM server answers at {url} (engine.base_url): {error}") from error
        self.base_name = self.settings.served_model or names[0]
        if self.base_name not in names:
            client.close()
            wanted = f"'{self.base_name}' (engine.served_model)"
            raise EngineFailed(f"The server at {url} does not serve {wanted}; it has {', '.join(names)}.")
        return client

    def card(self) -> dict[str, Any]:
        """What the server says of the base model."""
        return next(each for each in self.up().models() if each["id"] == self.base_name)

    def rest(self) -> None:
        """Give the accelerator's memory up: by sleep, or by ending our server; a remote one is left alone."""
        manner = rest_of(self.settings)
        if self._engine is None or self._asleep or manner == "stay":
            return
        if manner == "stop":
            self.stop()
            return
        try:
            self._engine.client.sleep(SLEEP_LEVEL[manner])
            self._asleep = SLEEP_LEVEL[manner]
        except EngineGone:
            self.stop()  # nothing is lost by it: what follows starts it anew

    def lost(self, error: EngineGone, client: EngineClient | None, tries_left: int) -> None:
        """The server has ended or does not answer: clear away what is left of it, for the next try.

        Raises:
            EngineFailed: it is not ours to start, or has ended too often.
        """
        if client is not None and client is not self._client and tries_left:
            return  # another thread has found it out already
        words = self._engine.last_words() if self._engine else str(error)
        self.stop()
        if not self.ours:
            raise EngineFailed(
                f"The vLLM server at {self.settings.base_url} does not answer ({error}). Answers that came are kept: "
                "run again when it is back."
            ) from error
        if not tries_left:
            raise EngineFailed(
                f"vLLM ended {self.settings.restarts + 1} times in a row (engine.restarts): {words}\nIts log is in "
                f"{log_file().parent}. Answers that came are kept: run again to go on."
            ) from error
        self._say(
            f"vLLM has ended in mid-round or hangs ({error}). Starting it again; nothing that was answered is lost."
        )

    def stop(self) -> None:
        """End our server, or close the connections to another's."""
        if self._engine is not None:
            self._engine.stop()
        elif self._client is not None:
            self._client.close()
        self._engine, self._client, self._asleep = None, None, 0
