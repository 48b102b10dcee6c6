"""The policy behind vLLM's OpenAI-compatible server: a managed one, or an existing one.

No code here imports vLLM, which runs in an environment of its own and is reached over HTTP. Prompts are sent as token
ids, from the same chat template as in training; samples come back as token ids with log-probs before temperature.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.errors import BadConfig
from cyclealign.policy import Answer, vllm_requests
from cyclealign.policy.adapter_checks import require_servable
from cyclealign.policy.adapter_layers import planned_layers, stored_layers, stored_settings
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.samples import SampleReader
from cyclealign.policy.tokenizer import UNBOUNDED_CONTEXT, context_length, is_multimodal, load_config, load_tokenizer
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import ServedModel, runs_on_cpu
from cyclealign.policy.vllm_lifecycle import NEEDS_MANAGED_SERVER, ServerLifecycle
from cyclealign.policy.vllm_weights import ActiveModel, ServedWeights, absolute, hash_of, holds_full_model
from cyclealign.records import Adapter, Prompt, seed_from

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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
        self._weights = ServedWeights(self.server, engine)

    def _served(self) -> ServedModel:
        """Return the model to serve: the base model (adapters are loaded on it), or the wanted full weights."""
        lora, folder, revision = self._training.method == "lora", self._model, self._settings.revision
        if holds_full_model(self._wanted):
            lora, folder, revision = False, self._wanted.path, None
        return ServedModel(
            absolute(folder),
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
        active = self._weights.active
        attestation = active.attestation if active else None
        return {
            "engine": f"vllm {self.server.version}",
            "attested_within": attestation.mean_difference if attestation else None,
        }

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self._chat_template.ids(prompt)

    def text_ids(self, text: str) -> list[int]:
        return self._chat_template.text_ids(text)

    def use(self, adapter: Adapter | None) -> None:
        with self._lock:
            if adapter is not None and not holds_full_model(adapter):
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
        return self._samples.answer(prompt_ids, ids, logprobs, hash_of(adapter), stopped)

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
                self._weights.unload()
            self.server.stop()

    def _request(self, send: Callable[[VllmClient, ActiveModel], Result]) -> Result:
        """Call ``send`` with a ready server and the attested weights; if the server exits, restart it and retry.

        ``send`` runs outside the lock, so that another thread can switch adapters while requests are in flight.
        """
        for tries_left in reversed(range(self._engine_settings.restarts + 1)):
            client = None
            try:
                with self._lock:
                    client = self.server.ready_client()
                    active = self._weights.activate(client, self._wanted)
                return send(client, active)
            except ServerUnavailable as error:
                with self._lock:
                    self.server.clean_up_failure(error, client, tries_left)
        raise AssertionError("clean_up_failure raises after the last try")
