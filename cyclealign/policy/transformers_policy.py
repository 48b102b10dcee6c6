"""The portable policy: transformers and PEFT in this process. For CPUs, small models, and as a reference for vLLM."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import fsum
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel
from transformers import __version__ as transformers_version

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy import Answer
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.policy.device import device
from cyclealign.policy.model_loading import load_adapter, load_model, require_embeddings
from cyclealign.policy.out_of_memory import halve_until_it_fits, is_out_of_memory
from cyclealign.policy.sampler import Sampler
from cyclealign.policy.samples import SampleReader
from cyclealign.policy.token_logprobs import MAX_TOKENS, next_token_logprobs, token_logprobs
from cyclealign.policy.tokenizer import UNBOUNDED_CONTEXT, context_of, load_tokenizer
from cyclealign.policy.weights import is_full_model
from cyclealign.records import Adapter, Prompt


class TransformersPolicy:
    """Generates with `transformers`; PEFT swaps adapters in place, full weights replace the loaded model."""

    def __init__(self, settings: PolicySettings, model: str) -> None:
        self._settings, self._name = settings, model
        self._tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
        self._load_weights(None)
        self._chat_template = ChatTemplate(self._tokenizer, settings)
        self._samples = SampleReader(self._tokenizer, settings, model)
        self._adapter: Adapter | None = None
        self._max_rows: int | None = None  # of a part of a batch of samples; None: the batch has always fitted
        self._max_tokens = MAX_TOKENS  # of a batch of scored rows

    def _load_weights(self, folder: str | None) -> None:
        """Load the full weights of a folder, or the base model (None); the loaded ones are dropped first."""
        self._drop()
        model, revision = (folder, None) if folder else (self._name, self._settings.revision)
        self._base = load_model(model, revision, device(allow_mps=True), self._settings.remote_code_trusted)
        # The model folder's own would silently change the distribution: `generate` takes from it what is not set.
        self._base.generation_config = GenerationConfig()
        self._model: PreTrainedModel | PeftModel = self._base
        self._weights = folder

    def _drop(self) -> None:
        for held in {"_model", "_base", "_weights"} & vars(self).keys():
            delattr(self, held)
        gc.collect()  # PEFT's wrapper and the model form a reference cycle
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def context_tokens(self) -> int:
        return context_of(self._base.config) or UNBOUNDED_CONTEXT

    @property
    def provenance(self) -> dict[str, object]:
        return {"engine": f"transformers {transformers_version}"}

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self._chat_template.ids(prompt)

    def text_ids(self, text: str) -> list[int]:
        return self._chat_template.text_ids(text)

    def use(self, adapter: Adapter | None) -> None:
        full_model = adapter.path if adapter is not None and is_full_model(Path(adapter.path)) else None
        if full_model != getattr(self, "_weights", ""):  # absent after a load that failed
            self._load_weights(full_model)
        if adapter is not None and full_model is None:
            self._load_adapter(adapter)
        self._adapter = adapter

    def _load_adapter(self, adapter: Adapter) -> None:
        """Activate ``adapter`` and delete all others, so that no name can refer to stale weights."""
        if not isinstance(self._model, PeftModel) or adapter.id not in self._model.peft_config:
            try:
                self._model = load_adapter(self._model, adapter.path, adapter.id)
            except PolicyError:
                self._drop()  # part of the adapter may be in the model already; the next use loads the model again
                raise
        self._model.set_adapter(adapter.id)
        for other in [name for name in self._model.peft_config if name != adapter.id]:
            self._model.delete_adapter(other)
        self._model.eval()

    @contextmanager
    def _active(self) -> Iterator[Any]:
        off = isinstance(self._model, PeftModel) and self._adapter is None
        with self._model.disable_adapter() if off else nullcontext(), torch.inference_mode():  # type: ignore[operator]
            yield self._model

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        prompt_rows = [self.prompt_ids(prompt) for prompt in prompts]
        require_embeddings(prompt_rows, self._base, self._tokenizer)
        rows = [row for row in prompt_rows for _ in range(count)]
        samples: list[tuple[list[int], list[float]]] = []

        def sample_the_rest(size: int) -> None:
            while len(samples) < len(rows):
                part = range(len(samples), min(len(samples) + size, len(rows)))
                samples.extend(self._sample(rows, part, seed))

        size = min(self._max_rows or len(rows), len(rows))
        fitting = self._fit(sample_the_rest, size, "answers")
        self._max_rows = fitting if fitting < size else self._max_rows
        adapter_hash = self._adapter.content_hash if self._adapter else None
        answers = [
            self._samples.answer(row, ids, logprobs, adapter_hash)
            for row, (ids, logprobs) in zip(rows, samples, strict=True)
        ]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _sample(self, rows: Sequence[Sequence[int]], part: range, seed: int) -> Iterator[tuple[list[int], list[float]]]:
        """Yield token ids and log-probs of one sample for each row of the part; see `Sampler`."""
        encoded = self._padded([rows[row] for row in part])
        settings = self._settings
        sampler = Sampler(settings.temperature, settings.top_p, seed, part, len(rows), str(self._base.device))
        with self._active() as model:
            sequences: Tensor = model.generate(
                **encoded, generation_config=self._generation_config(), logits_processor=LogitsProcessorList([sampler])
            )
        answers_PT = sequences[:, encoded["input_ids"].shape[1] :]
        logprobs_PT = sampler.logprobs(answers_PT.shape[1])
        yield from zip(answers_PT.tolist(), logprobs_PT.tolist(), strict=True)

    def _generation_config(self) -> GenerationConfig:
        """Return the config of sampling by `Sampler`, whose best score is the token drawn."""
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=self._settings.max_new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=sorted(self._samples.end_tokens),
        )

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        start = self.prompt_ids(prompt)
        if all(len(ids) == 1 for ids in answers):  # as labels are: one pass serves all of them
            require_embeddings([[*start, *(ids[0] for ids in answers)]], self._base, self._tokenizer)
            with self._active() as model:
                return next_token_logprobs(model, start, [ids[0] for ids in answers])
        scored = self._score([[*start, *ids] for ids in answers], [len(start)] * len(answers))
        return [fsum(row) for row in scored]

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._score(rows, None)

    def _score(self, rows: Sequence[Sequence[int]], starts: Sequence[int] | None) -> list[list[float]]:
        require_embeddings(rows, self._base, self._tokenizer)
        scored: list[list[float]] = []

        def score(max_tokens: int) -> None:
            with self._active() as model:
                scored[:] = token_logprobs(model, rows, starts, max_tokens)

        size = min(self._max_tokens, len(rows) * max(map(len, rows), default=0))
        fitting = self._fit(score, size, "tokens")
        self._max_tokens = fitting if fitting < size else self._max_tokens
        return scored

    def _fit(self, attempt: Callable[[int], object], size: int, unit: str) -> int:
        """Return the size of parts that fitted; see `halve_until_it_fits`."""
        try:
            return halve_until_it_fits(attempt, size, 1, unit)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise PolicyError(
                "Out of memory, even for a single answer. Lower policy.max_new_tokens, free the memory that other "
                'processes hold, or serve the model with policy.kind = "vllm" (several GPUs: engine.flags). Stored '
                f"answers are kept. ({error})"
            ) from error

    def release_memory(self) -> None:
        """Keep the model: it is small, or it would not be in this process."""

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        padded = self._tokenizer.pad({"input_ids": [list(row) for row in rows]}, return_tensors="pt")
        return {name: padded[name].to(self._base.device) for name in ("input_ids", "attention_mask")}

    def close(self) -> None:
        self._drop()
