"""The policy behind vLLM's OpenAI-compatible server: a managed one, or an existing one.

No code here imports vLLM, which runs in an environment of its own and is reached over HTTP. Prompts are sent as token
ids, from the same chat template as in training; samples come back as token ids with log-probs before temperature.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.errors import BadConfig, PolicyError, WrongWeights
from cyclealign.policy import Answer, vllm_requests
from cyclealign.policy.adapter_layers import planned_layers, require_servable, stored_layers, stored_settings
from cyclealign.policy.attestation import Attestation, Probe, attest
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.samples import SampleReader
from cyclealign.policy.tokenizer import UNBOUNDED_CONTEXT, context_length, is_multimodal, load_config, load_tokenizer
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import MAX_LOADED_ADAPTERS, ServedModel, precision, runs_on_cpu
from cyclealign.policy.vllm_lifecycle import NEEDS_MANAGED_SERVER, ServerLifecycle
from cyclealign.policy.weights import is_full_model
from cyclealign.records import Adapter, Prompt, seed_from

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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


class VllmPolicy:
    """Samples and scores through vLLM; see `cyclealign.policy.Policy`. Thread-safe.

    Args:
        training: method, and the layers and rank of the adapters to serve.
        notify: called with messages for the user: slow steps and failures.

    Raises:
        BadConfig: rounds train full weights and the server is not managed, or vLLM cannot serve such adapters.
        PolicyError: the model is unsafe or cannot be loaded.
    """

    def __init__(
        self,
        settings: PolicySettings,
        engine: EngineSettings,
        model: str,
        training: TrainingSettings,
        notify: Callable[[str], None] = logger.info,
    ) -> None:
        if training.method == "full" and engine.base_url is not None:
            raise BadConfig(NEEDS_MANAGED_SERVER)
        refuse_unsafe(model, settings.revision, settings.remote_code_trusted)
        self._settings, self._engine_settings, self._model = settings, engine, model
        tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
        self._chat_template = ChatTemplate(tokenizer, settings)
        self._samples = SampleReader(tokenizer, settings, model)
        self._training = training
        # Of the adapters used so far, beyond the settings' own: what is served never shrinks, so no server restarts.
        self._modules_seen, self._rank_seen = set[str](), training.lora_rank
        self.server = ServerLifecycle(engine, self._served, notify)
        self._lock = threading.RLock()
        self._wanted: Adapter | None = None
        self._active: ActiveModel | None = None
        self._loaded: list[tuple[int, str]] = []  # (incarnation, name) of our adapters on the server, oldest first
        self._num_loads = 0
        # Of the last adapter; it also distinguishes the base model from that adapter.
        self._probe: Probe | None = None

    def _served(self) -> ServedModel:
        """Return the model to serve: the base model (adapters are loaded on it), or the wanted full weights."""
        lora, folder, revision = self._training.method == "lora", self._model, self._settings.revision
        if _is_full_model(self._wanted):
            lora, folder, revision = False, self._wanted.path, None
        return ServedModel(
            _absolute(folder),
            revision,
            self._rank_seen if lora else None,
            tuple(sorted({*self._lora_modules, *self._modules_seen})) if lora else (),
            self._settings.remote_code_trusted,
            self._multimodal,
        )

    def _note_layers(self, adapter: Adapter) -> None:
        """Add rank and layers of an adapter to those to serve: an earlier version may have chosen others."""
        folder = Path(adapter.path)
        layers = stored_layers(folder)
        require_servable(layers, self._training)
        self._modules_seen.update(layers.short_names)
        self._rank_seen = max(self._rank_seen, int(stored_settings(folder).get("r", 0)))

    @cached_property
    def _multimodal(self) -> bool:
        return is_multimodal(load_config(self._model, self._settings.revision, self._settings.remote_code_trusted))

    @cached_property
    def _lora_modules(self) -> tuple[str, ...]:
        revision, trust_remote_code = self._settings.revision, self._settings.remote_code_trusted
        layers = planned_layers(self._model, revision, trust_remote_code, self._training)
        require_servable(layers, self._training, runs_on_cpu(self._engine_settings))
        return layers.short_names

    @property
    def context_tokens(self) -> int:
        """The model's context minus one: scoring a text generates one token, which is discarded."""
        if not self.server.managed:
            with self._lock:
                return int(self.server.model_card()["max_model_len"]) - 1
        revision, trust_remote_code = self._settings.revision, self._settings.remote_code_trusted
        longest = context_length(self._model, revision, trust_remote_code) or UNBOUNDED_CONTEXT
        return min(longest, self._engine_settings.context or longest) - 1

    @property
    def provenance(self) -> dict[str, object]:
        attestation = self._active.attestation if self._active else None
        return {
            "engine": f"vllm {self.server.version}",
            "attested_within": attestation.mean_difference if attestation else None,
        }

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self._chat_template.ids(prompt)

    def use(self, adapter: Adapter | None) -> None:
        with self._lock:
            if adapter is not None and not _is_full_model(adapter):
                self._note_layers(adapter)
            self._wanted = adapter
        self._request(lambda client, active: None)

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        prompt_rows = [self.prompt_ids(prompt) for prompt in prompts]
        requests = [
            # Halved, to stay within 64 bits: vLLM adds the number of the sample to the seed.
            vllm_requests.sampling_request(
                ids, count, seed_from(seed, prompt.id) >> 1, self._samples.end_tokens, self._settings
            )
            for prompt, ids in zip(prompts, prompt_rows, strict=True)
        ]

        def sample(client: VllmClient, active: ActiveModel) -> list[list[Answer]]:
            rows = vllm_requests.sample(client, active.name, requests)
            return [
                [self._answer(ids, choice, active.adapter) for choice in row]
                for ids, row in zip(prompt_rows, rows, strict=True)
            ]

        return self._request(sample)

    def _answer(self, prompt_ids: Sequence[int], choice: Mapping[str, Any], adapter: Adapter | None) -> Answer:
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        assert len(ids) == len(logprobs)
        stopped = choice["finish_reason"] != "length"
        return self._samples.answer(prompt_ids, ids, logprobs, _hash(adapter), stopped)

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        start = self.prompt_ids(prompt)
        rows = self.token_logprobs([[*start, *ids] for ids in answers])
        return [float(sum(row[len(row) - len(ids) :])) for row, ids in zip(rows, answers, strict=True)]

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._request(lambda client, active: vllm_requests.score(client, active.name, rows))

    def release_memory(self) -> None:
        """Put the server to sleep, or stop it: full weights are about to be replaced, and sleep would keep them."""
        with self._lock:
            if self._training.method == "full" and self._engine_settings.rest != "stay":
                self.server.stop()
            else:
                self.server.release_memory()

    def close(self) -> None:
        with self._lock:
            if not self.server.managed:
                self._unload_adapters()
            self.server.stop()

    def _unload_adapters(self) -> None:
        """Unload our adapters from an existing server; nothing to do if it is gone."""
        with suppress(ServerUnavailable, PolicyError):
            for incarnation, name in self._loaded:
                if incarnation == self.server.incarnation:
                    self.server.ready_client().unload_adapter(name)

    def _request(self, send: Callable[[VllmClient, ActiveModel], Result]) -> Result:
        """Call ``send`` with a ready server and the attested weights; if the server exits, restart it and retry.

        ``send`` runs outside the lock, so that another thread can switch adapters while requests are in flight.
        """
        for tries_left in reversed(range(self._engine_settings.restarts + 1)):
            client = None
            try:
                with self._lock:
                    client = self.server.ready_client()
                    active = self._activate(client)
                return send(client, active)
            except ServerUnavailable as error:
                with self._lock:
                    self.server.clean_up_failure(error, client, tries_left)
        raise AssertionError("clean_up_failure raises after the last try")

    def _activate(self, client: VllmClient) -> ActiveModel:
        """Load and attest the wanted weights, unless they are active in the server's current incarnation."""
        incarnation, wanted, active = self.server.incarnation, self._wanted, self._active
        if active is not None and active.incarnation == incarnation and _hash(active.adapter) == _hash(wanted):
            return active
        self._active = None
        name = self._load(client, wanted) if wanted and not _is_full_model(wanted) else self.server.base_name
        self._active = ActiveModel(name, wanted, self._attest(client, name, wanted), incarnation)
        return self._active

    def _load(self, client: VllmClient, adapter: Adapter) -> str:
        """Load an adapter under a new name, so that no cache can hold stale entries of that name; return the name."""
        self._num_loads += 1
        name = f"{self.server.base_name}-{os.getpid()}-{self._num_loads}-{adapter.content_hash[:16]}"
        client.load_adapter(name, _absolute(adapter.path))
        current = self.server.incarnation
        self._loaded = [(incarnation, loaded) for incarnation, loaded in self._loaded if incarnation == current]
        self._loaded.append((current, name))
        while len(self._loaded) > MAX_LOADED_ADAPTERS:  # the previous one stays, for requests in flight
            client.unload_adapter(self._loaded.pop(0)[1])
        if self.server.managed:
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
        attestation = attest(measured, expected, other, self._tolerance, title)
        message = "vLLM serves %s: its log-probs are within %.1e nats per token of training's (maximum %.1e)."
        logger.info(message, title, attestation.mean_difference, attestation.max_difference)
        return attestation

    @property
    def _tolerance(self) -> float:
        if self._engine_settings.tolerance is not None:
            return self._engine_settings.tolerance
        return 1e-3 if precision(self._engine_settings) == "float32" else 0.05


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


def _is_full_model(adapter: Adapter | None) -> TypeGuard[Adapter]:
    """Return whether the folder of an `Adapter` holds full weights."""
    return adapter is not None and is_full_model(Path(adapter.path))


def _hash(adapter: Adapter | None) -> str | None:
    return adapter.content_hash if adapter else None


def _absolute(model: str) -> str:
    """Return the absolute path of a folder, or a hub id unchanged: the server runs in another folder."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
