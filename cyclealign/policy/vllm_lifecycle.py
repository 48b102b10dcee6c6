"""The lifecycle of the server behind a policy: start or connect on first use, sleep, wake, restart.

A managed server is also restarted to serve other weights.
"""

import os
from collections.abc import Callable
from typing import Any

from cyclealign.config import EngineSettings
from cyclealign.errors import EngineFailed
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import ServedModel, training_mode
from cyclealign.policy.vllm_server import ManagedServer, log_file

SLEEP_LEVEL = {"level_1": 1, "level_2": 2}
NEEDS_MANAGED_SERVER = (
    "training.method = 'full' needs a managed vLLM server, which is restarted on each round's weights, but "
    "engine.base_url names an existing one. Remove engine.base_url, or set training.method = 'lora'."
)


class ServerLifecycle:
    """One server at a time: a managed one, or the existing one at ``engine.base_url``. Callers hold a lock.

    ``incarnation`` counts starts and wake-ups: whatever was loaded in an earlier one may be gone.

    Args:
        served: returns the model that a managed server must serve. If it changes, the server is restarted.
        notify: called with messages for the user: slow steps and failures.
    """

    def __init__(
        self, settings: EngineSettings, served: Callable[[], ServedModel], notify: Callable[[str], None]
    ) -> None:
        self.settings, self._wanted, self._notify = settings, served, notify
        self._client: VllmClient | None = None
        self._server: ManagedServer | None = None
        self._served: ServedModel | None = None
        self._sleep_level = 0
        self.base_name = ""
        self.version = ""
        self.incarnation = 0

    @property
    def managed(self) -> bool:
        """Return whether the server is started by the run, so that its development paths may be used."""
        return self.settings.base_url is None

    @property
    def process_group(self) -> int | None:
        """Process group of the managed server; None if there is none."""
        return self._server.pid if self._server else None

    def ready_client(self) -> VllmClient:
        """Return a client of the server, after starting, connecting to or waking it if necessary.

        Raises:
            EngineFailed: it does not start, or does not answer.
        """
        if self._server is not None and self._served != self._wanted():
            self.stop()
        if self._client is None:
            self._client = self._connect() if self.settings.base_url else self._start()
            self.version = self._client.version()
            self.incarnation += 1
        if self._sleep_level:
            level, self._sleep_level = self._sleep_level, 0
            self._client.wake(level)
            self.incarnation += 1
        return self._client

    def _start(self) -> VllmClient:
        self._notify("Starting vLLM (takes half a minute to several minutes).")
        self._served = self._wanted()
        self._server = ManagedServer(self.settings, self._served)
        try:
            self._server.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.base_name = self._server.name
        return self._server.client

    def _connect(self) -> VllmClient:
        url = self.settings.base_url or ""
        key = os.environ.get(self.settings.api_key_variable, "")
        client = VllmClient(url.rstrip("/").removesuffix("/v1"), key, self.settings.timeout_seconds)
        try:
            names = [model["id"] for model in client.models()]
        except ServerUnavailable as error:
            client.close()
            raise EngineFailed(f"No vLLM server answers at {url} (engine.base_url): {error}") from error
        self.base_name = self.settings.served_model or names[0]
        if self.base_name not in names:
            client.close()
            wanted = f"'{self.base_name}' (engine.served_model)"
            raise EngineFailed(f"The server at {url} does not serve {wanted}. It serves {', '.join(names)}.")
        return client

    def model_card(self) -> dict[str, Any]:
        """Return the server's description of the base model."""
        return next(model for model in self.ready_client().models() if model["id"] == self.base_name)

    def release_memory(self) -> None:
        """Put a managed server to sleep or stop it, as configured; an existing server is left alone."""
        mode = training_mode(self.settings)
        if self._server is None or self._sleep_level or mode == "stay":
            return
        if mode == "stop":
            self.stop()
            return
        try:
            self._server.client.sleep(SLEEP_LEVEL[mode])
            self._sleep_level = SLEEP_LEVEL[mode]
        except ServerUnavailable:
            self.stop()  # the next request starts a new one

    def clean_up_failure(self, error: ServerUnavailable, client: VllmClient | None, tries_left: int) -> None:
        """Stop what is left of a server that exited or does not answer, so that the next attempt starts a new one.

        Args:
            client: the client whose request failed; None if there was none yet.

        Raises:
            EngineFailed: the server is not managed, or there are no attempts left.
        """
        if client is not None and client is not self._client and tries_left:
            return  # another thread has already replaced this server
        reason = self._server.root_error() if self._server else str(error)
        self.stop()
        if not self.managed:
            raise EngineFailed(
                f"The vLLM server at {self.settings.base_url} does not answer ({error}). Received answers are stored: "
                "run again when it is back."
            ) from error
        if not tries_left:
            raise EngineFailed(
                f"vLLM exited {self.settings.restarts + 1} times in a row (engine.restarts): {reason}\nIts log is in "
                f"{log_file().parent}. Received answers are stored: run again to resume."
            ) from error
        self._notify(
            f"vLLM exited or stopped answering during the round ({error}). Restarting it; received answers are stored."
        )

    def stop(self) -> None:
        """Stop a managed server, or close the connections to an existing one."""
        if self._server is not None:
            self._server.stop()
        elif self._client is not None:
            self._client.close()
        self._server, self._client, self._sleep_level = None, None, 0
