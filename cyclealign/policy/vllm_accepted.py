"""A vLLM server for other programs: accepted weights under one name, attested after every switch."""

from pathlib import Path

from cyclealign.config import EngineSettings, PolicySettings
from cyclealign.errors import EngineFailed
from cyclealign.policy import vllm_requests
from cyclealign.policy.adapter_layers import stored_layers, stored_settings
from cyclealign.policy.attestation import attest
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.tokenizer import is_multimodal, load_config
from cyclealign.policy.vllm_command import ServedModel
from cyclealign.policy.vllm_server import Access, ManagedServer
from cyclealign.policy.vllm_weights import absolute, holds_full_model, probe_of, tolerance_of
from cyclealign.records import Adapter

BASE = "base"  # the name of the base model beside adapters


class AcceptedServer:
    """One managed server at a time, on the loopback address, that serves the weights last given to `show`.

    Adapters are loaded while the server runs. Full weights, and an adapter of other layers or a higher rank, need a
    restart.

    Args:
        model: folder or hub id of the base model.
        name: of the weights in requests.
        key: that requests must have.
    """

    def __init__(self, settings: PolicySettings, engine: EngineSettings, model: str, name: str, key: str) -> None:
        refuse_unsafe(model, settings.revision, settings.remote_code_trusted)
        flags = engine.flags
        if settings.chat_template:
            flags = (*flags, "--chat-template", str(Path(settings.chat_template).absolute()))
        self._settings, self._model, self._name, self._key = settings, model, name, key
        self._engine = engine.model_copy(update={"flags": flags, "base_url": None})
        self._server: ManagedServer | None = None
        self._served: ServedModel | None = None
        self._loaded = False

    @property
    def url(self) -> str:
        """The address of the running server, with ``/v1``."""
        assert self._server is not None
        return f"{self._server.client.url}/v1"

    def show(self, weights: Adapter) -> None:
        """Serve these weights in place of others.

        Raises:
            EngineFailed: the server does not start.
            WrongWeights: the server does not serve the weights; it must be stopped.
        """
        served = self._served_model(weights)
        if self._server is None or served != self._served:
            self._restart(served, BASE if served.lora_rank else self._name)
        assert self._server is not None
        client = self._server.client
        if served.lora_rank:
            if self._loaded:
                # Under its name again: `load_inplace` would make vLLM (0.32) read the adapter anew at every step.
                client.unload_adapter(self._name)
            client.load_adapter(self._name, absolute(weights.path))
            self._loaded = True
        probe = probe_of(weights)
        measured = [logprob for row in vllm_requests.score(client, self._name, probe.rows) for logprob in row]
        attest(measured, probe.own, probe.parent, tolerance_of(self._engine), f"weights {weights.id[:12]}")

    def require_running(self) -> None:
        """Raise EngineFailed, with the cause in the server's log, if it has exited."""
        if self._server is not None and self._server.ended:
            raise EngineFailed(f"vLLM exited: {self._server.root_error()}\nIts log: {self._server.log}")

    def stop(self) -> None:
        """Stop the server; nothing happens without one."""
        if self._server is not None:
            self._server.stop()
        self._server, self._loaded = None, False

    def _restart(self, served: ServedModel, name: str) -> None:
        self.stop()
        self._served = served
        self._server = ManagedServer(self._engine, served, Access(name, self._key))
        self._server.wait_until_ready()

    def _served_model(self, weights: Adapter) -> ServedModel:
        trusted = self._settings.remote_code_trusted
        multimodal = is_multimodal(load_config(self._model, self._settings.revision, trusted))
        if holds_full_model(weights):
            return ServedModel(absolute(weights.path), None, None, (), trusted, multimodal)
        folder = Path(weights.path)
        rank, modules = int(stored_settings(folder)["r"]), stored_layers(folder).short_names
        return ServedModel(absolute(self._model), self._settings.revision, rank, modules, trusted, multimodal)
