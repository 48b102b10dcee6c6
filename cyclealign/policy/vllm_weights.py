"""Weights on a vLLM server: adapters are loaded under new names, and whatever is to answer is attested first."""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from cyclealign.config import EngineSettings
from cyclealign.errors import PolicyError, WrongWeights
from cyclealign.policy import vllm_requests
from cyclealign.policy.attestation import Attestation, Probe, attest
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import MAX_LOADED_ADAPTERS, precision
from cyclealign.policy.vllm_lifecycle import ServerLifecycle
from cyclealign.policy.weights import is_full_model
from cyclealign.records import Adapter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveModel:
    """The attested weights that answer requests.

    Attributes:
        name: model name in requests.
        adapter: the adapter or full weights of that name. None: the base model.
        incarnation: of the server in which it was loaded and attested.
    """

    name: str
    adapter: Adapter | None
    attestation: Attestation | None
    incarnation: int


class ServedWeights:
    """Loads and attests weights on the server of a policy. Callers hold a lock.

    Attributes:
        active: the weights that answer requests. None: none are loaded yet, or the last ones were refused.
    """

    def __init__(self, server: ServerLifecycle, settings: EngineSettings) -> None:
        self.active: ActiveModel | None = None
        self._server, self._settings = server, settings
        self._loaded: list[tuple[int, str]] = []  # (incarnation, name) of our adapters on the server, oldest first
        self._num_loads = 0
        # Of the last adapter; it also distinguishes the base model from that adapter.
        self._probe: Probe | None = None

    def activate(self, client: VllmClient, wanted: Adapter | None) -> ActiveModel:
        """Load and attest the wanted weights, unless they are active in the server's current incarnation."""
        incarnation, active = self._server.incarnation, self.active
        if active is not None and active.incarnation == incarnation and hash_of(active.adapter) == hash_of(wanted):
            return active
        self.active = None
        name = self._load(client, wanted) if wanted and not holds_full_model(wanted) else self._server.base_name
        self.active = ActiveModel(name, wanted, self._attest(client, name, wanted), incarnation)
        return self.active

    def unload(self) -> None:
        """Unload our adapters from an existing server; nothing to do if it is gone."""
        with suppress(ServerUnavailable, PolicyError):
            for incarnation, name in self._loaded:
                if incarnation == self._server.incarnation:
                    self._server.ready_client().unload_adapter(name)

    def _load(self, client: VllmClient, adapter: Adapter) -> str:
        """Load an adapter under a new name, so that no cache can hold stale entries of that name; return the name."""
        self._num_loads += 1
        name = f"{self._server.base_name}-{os.getpid()}-{self._num_loads}-{adapter.content_hash[:16]}"
        client.load_adapter(name, absolute(adapter.path))
        current = self._server.incarnation
        self._loaded = [(incarnation, loaded) for incarnation, loaded in self._loaded if incarnation == current]
        self._loaded.append((current, name))
        while len(self._loaded) > MAX_LOADED_ADAPTERS:  # the previous one stays, for requests in flight
            client.unload_adapter(self._loaded.pop(0)[1])
        if self._server.managed:
            client.reset_prefix_cache()
        return name

    def _attest(self, client: VllmClient, name: str, adapter: Adapter | None) -> Attestation | None:
        """Compare the server's log-probs of the probe with training's; None for the base model before any adapter.

        Raises:
            WrongWeights: other weights are served, or the adapter has no probe.
        """
        if adapter is not None:
            self._probe = probe_of(adapter)
        if self._probe is None:
            return None
        expected, other, title = self._probe.base, self._probe.own, "the base model"
        if adapter is not None:
            expected, other, title = self._probe.own, self._probe.parent, f"adapter {adapter.id[:12]}"
        measured = [logprob for row in vllm_requests.score(client, name, self._probe.rows) for logprob in row]
        attestation = attest(measured, expected, other, tolerance_of(self._settings), title)
        message = "vLLM serves %s: its log-probs are within %.1e nats per token of training's (maximum %.1e)."
        logger.info(message, title, attestation.mean_difference, attestation.max_difference)
        return attestation


def tolerance_of(settings: EngineSettings) -> float:
    """Return the largest mean difference that attestation allows, in nats per token."""
    if settings.tolerance is not None:
        return settings.tolerance
    return 1e-3 if precision(settings) == "float32" else 0.05


def probe_of(adapter: Adapter) -> Probe:
    """Return the probe that training stored with the adapter.

    Raises:
        WrongWeights: the adapter has no probe.
    """
    probe = Probe.load(Path(adapter.path))
    if probe is None:
        raise WrongWeights(
            f"{adapter.path} has no probe.json to check that vLLM serves this adapter: it was trained by an earlier "
            'version. Continue with policy.kind = "transformers", or start a new experiment.'
        )
    return probe


def holds_full_model(adapter: Adapter | None) -> TypeGuard[Adapter]:
    """Return whether the folder of an `Adapter` holds full weights."""
    return adapter is not None and is_full_model(Path(adapter.path))


def hash_of(adapter: Adapter | None) -> str | None:
    """Return the content hash of an adapter; None for the base model."""
    return adapter.content_hash if adapter else None


def absolute(model: str) -> str:
    """Return the absolute path of a folder, or a hub id unchanged: the server runs in another folder."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
