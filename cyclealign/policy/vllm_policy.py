"""The policy behind vLLM's OpenAI-compatible server: one of our own, or one that is there.

No code here imports vLLM: it lives in an environment of its own, and is spoken to over HTTP. Prompts go out as token
ids, made by the one chat template that training uses; token ids and raw log-probs of the samples come back.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar

from transformers import AutoConfig, GenerationConfig

from cyclealign.config import EngineSettings, PolicySettings
from cyclealign.errors import BadConfig, PolicyError, WrongWeights
from cyclealign.policy import Answer, chat_template, vllm_requests
from cyclealign.policy.attestation import Attestation, Logprobs, Probe, attest
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.transformers_policy import adaptable_layers, load_tokenizer
from cyclealign.policy.vllm_client import EngineClient, EngineGone
from cyclealign.policy.vllm_command import WANTS_OUR_OWN, Serving
from cyclealign.policy.vllm_server import LOADED_AT_ONCE, Served, precision
from cyclealign.policy.weights import are_whole
from cyclealign.records import Adapter, Prompt, seed_from

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Mounted:
    """What answers: the name that requests give, and the adapter behind it (None: the base model).

    ``life`` is the server's in which it was loaded and attested.
    """

    name: str
    adapter: Adapter | None
    attestation: Attestation | None
    life: int


class VllmPolicy:
    """Generates and scores through vLLM; see `cyclealign.policy.Policy`. May be used from several threads at once.

    Args:
        lora_rank: the largest rank of the adapters to come; None: what comes are whole weights.
        say: told what takes long or went wrong, for the person who waits.

    Raises:
        BadConfig: whole weights are to come, and the server is not ours to start again on them.
    """

    def __init__(
        self,
        settings: PolicySettings,
        engine: EngineSettings,
        model: str,
        lora_rank: int | None,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        if lora_rank is None and engine.base_url is not None:
            raise BadConfig(WANTS_OUR_OWN)
        refuse_unsafe(model, settings.revision, settings.remote_code_trusted)
        self._settings, self._engine_settings, self._model = settings, engine, model
        self._tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
        self._lora_rank = lora_rank
        self.serving = Serving(engine, self._served, say)
        self._lock = threading.RLock()
        self._wanted: Adapter | None = None
        self._mounted: Mounted | None = None
        self._loaded: list[tuple[int, str]] = []
        self._loads = 0
        self._probe: Probe | None = None  # of the last adapter: it tells the base model from it, too

    def _served(self) -> Served:
        """The base model, on which adapters are loaded; or the whole weights that are wanted, in its place."""
        revision, trust_remote_code = self._settings.revision, self._settings.remote_code_trusted
        if _is_whole(self._wanted):
            return Served(_absolute(self._wanted.path), None, None, (), trust_remote_code)
        return Served(_absolute(self._model), revision, self._lora_rank, self._lora_modules, trust_remote_code)

    @cached_property
    def _lora_modules(self) -> tuple[str, ...]:
        if self._lora_rank is None:
            return ()
        return adaptable_layers(self._model, self._settings.revision, self._settings.remote_code_trusted)

    @property
    def context_tokens(self) -> int:
        """One less than the model's: scoring a text generates one token, which is thrown away."""
        if not self.serving.ours:
            with self._lock:
                return int(self.serving.card()["max_model_len"]) - 1
        revision, trust_remote_code = self._settings.revision, self._settings.remote_code_trusted
        config = AutoConfig.from_pretrained(self._model, revision=revision, trust_remote_code=trust_remote_code)
        longest = int(config.get_text_config().max_position_embeddings)
        return min(longest, self._engine_settings.context or longest) - 1

    @property
    def provenance(self) -> dict[str, object]:
        attestation = self._mounted.attestation if self._mounted else None
        return {
            "engine": f"vllm {self.serving.version}",
            "attested_within": attestation.mean_difference if attestation else None,
        }

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return chat_template.prompt_ids(self._tokenizer, prompt.messages)

    def use(self, adapter: Adapter | None) -> None:
        with self._lock:
            self._wanted = adapter
        self._asking(lambda client, mounted: None)

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        settings, ends = self._settings, self._end_tokens
        requests = [
            # Halved, since vLLM adds the number of the sample.
            vllm_requests.sampling(self.prompt_ids(prompt), count, seed_from(seed, prompt.id) >> 1, ends, settings)
            for prompt in prompts
        ]

        def ask(client: EngineClient, mounted: Mounted) -> list[list[Answer]]:
            rows = vllm_requests.sample(client, mounted.name, requests)
            return [[self._answer(choice, mounted.adapter) for choice in row] for row in rows]

        return self._asking(ask)

    @cached_property
    def _end_tokens(self) -> set[int]:
        found = end_tokens(self._model, self._settings.revision, self._settings.remote_code_trusted)
        return found | {self._tokenizer.eos_token_id}

    def _answer(self, choice: Mapping[str, Any], adapter: Adapter | None) -> Answer:
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        assert len(ids) == len(logprobs)
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        finish: Literal["stop", "length"] = "length" if choice["finish_reason"] == "length" else "stop"
        return Answer(str(text).strip(), tuple(ids), float(sum(logprobs)), finish, _hash(adapter))

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        start = self.prompt_ids(prompt)
        rows = self.token_logprobs([[*start, *ids] for ids in answers])
        return [float(sum(row[len(row) - len(ids) :])) for row, ids in zip(rows, answers, strict=True)]

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._asking(lambda client, mounted: vllm_requests.score(client, mounted.name, rows))

    def release_memory(self) -> None:
        """Whole weights are about to be replaced: to sleep would only keep them."""
        with self._lock:
            if self._lora_rank is None and self._engine_settings.rest != "stay":
                self.serving.stop()
            else:
                self.serving.rest()

    def close(self) -> None:
        with self._lock:
            if not self.serving.ours:
                self._tidy()
            self.serving.stop()

    def _tidy(self) -> None:
        """Take our adapters off another's server; one that is gone needs no tidying."""
        with suppress(EngineGone, PolicyError):
            for life, name in self._loaded:
                if life == self.serving.life:
                    self.serving.up().unload_adapter(name)

    def _asking(self, ask: Callable[[EngineClient, Mounted], Result]) -> Result:
        """Ask a server that is up, awake and attested; where it ends meanwhile, start it again and ask once more.

        Requests go out of the lock: while they are under way another thread may put the next adapter on.
        """
        for tries_left in reversed(range(self._engine_settings.restarts + 1)):
            client = None
            try:
                with self._lock:
                    client = self.serving.up()
                    mounted = self._mount(client)
                return ask(client, mounted)
            except EngineGone as error:
                with self._lock:
                    self.serving.lost(error, client, tries_left)
        raise AssertionError("the last loss raises")

    def _mount(self, client: EngineClient) -> Mounted:
        """What answers with the wanted adapter, loaded and attested in the server's present life."""
        life, wanted, mounted = self.serving.life, self._wanted, self._mounted
        if mounted is not None and mounted.life == life and _hash(mounted.adapter) == _hash(wanted):
            return mounted
        self._mounted = None
        name = self._load(client, wanted) if wanted and not _is_whole(wanted) else self.serving.base_name
        self._mounted = Mounted(name, wanted, self._attested(client, name, wanted), life)
        return self._mounted

    def _load(self, client: EngineClient, adapter: Adapter) -> str:
        """Load an adapter under a name that was never used, so that nothing cached under a name can be stale."""
        self._loads += 1
        name = f"{self.serving.base_name}-{os.getpid()}-{self._loads}-{adapter.content_hash[:16]}"
        client.load_adapter(name, _absolute(adapter.path))
        self._loaded = [(life, each) for life, each in self._loaded if life == self.serving.life]
        self._loaded.append((self.serving.life, name))
        while len(self._loaded) > LOADED_AT_ONCE:  # the one before stays, for requests that are under way
            client.unload_adapter(self._loaded.pop(0)[1])
        if self.serving.ours:
            client.reset_prefix_cache()
        return name

    def _attested(self, client: EngineClient, name: str, adapter: Adapter | None) -> Attestation | None:
        """Compare the server's log-probs of the probe with training's; None for a base model never yet adapted.

        Raises:
            WrongWeights: other weights answer, or the adapter has no probe.
        """
        if adapter is not None:
            self._probe = probe_of(adapter)
        if self._probe is None:
            return None
        expected, other, title = self._probe.base, self._probe.own, "the base model"
        if adapter is not None:
            expected, other, title = self._probe.own, self._probe.parent, f"adapter {adapter.id[:12]}"
        return self._compared(client, name, expected, other, title)

    def _compared(
        self, client: EngineClient, name: str, expected: Logprobs, other: Logprobs, title: str
    ) -> Attestation:
        assert self._probe is not None
        measured = [each for row in vllm_requests.score(client, name, self._probe.rows) for each in row]
        found = attest(measured, expected, other, self._tolerance, title)
        message = "vLLM answers with %s: within %.1e nats per token of training's log-probs (largest %.1e)."
        logger.info(message, title, found.mean_difference, found.largest_difference)
        return found

    @property
    def _tolerance(self) -> float:
        if self._engine_settings.tolerance is not None:
            return self._engine_settings.tolerance
        return 1e-3 if precision(self._engine_settings) == "float32" else 0.05


def probe_of(adapter: Adapter) -> Probe:
    """The probe that training left beside the adapter.

    Raises:
        WrongWeights: there is none.
    """
    probe = Probe.load(Path(adapter.path))
    if probe is None:
        raise WrongWeights(
            f"{adapter.path} has no probe.json, by which one can tell whether vLLM answers with this adapter: it was "
            'trained by an earlier version. Go on with policy.kind = "transformers", or start a new experiment.'
        )
    return probe


def end_tokens(model: str, revision: str | None, trust_remote_code: bool = False) -> set[int]:
    """The tokens at which the model ends an answer, by its generation config or else its config."""
    try:
        config: Any = GenerationConfig.from_pretrained(model, revision=revision)
    except OSError:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    found = config.eos_token_id
    return {token for token in (found if isinstance(found, list) else [found]) if isinstance(token, int)}


def _is_whole(adapter: Adapter | None) -> TypeGuard[Adapter]:
    """Whether an adapter stands for whole weights."""
    return adapter is not None and are_whole(Path(adapter.path))


def _hash(adapter: Adapter | None) -> str | None:
    return adapter.content_hash if adapter else None


def _absolute(model: str) -> str:
    """A folder from anywhere; a hub id as it is."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
