"""The portable policy: transformers and PEFT in this process. For CPUs, small models, and as a reference for vLLM."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers import __version__ as transformers_version

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy import Answer
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.policy.device import device
from cyclealign.policy.model_loading import load_adapter, load_model, require_embeddings
from cyclealign.policy.samples import SampleReader
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

    def _load_weights(self, folder: str | None) -> None:
        """Load the full weights of a folder, or the base model (None); the loaded ones are dropped first."""
        self._drop()
        model, revision = (folder, None) if folder else (self._name, self._settings.revision)
        self._base = load_model(model, revision, device(allow_mps=True), self._settings.remote_code_trusted)
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
        encoded = self._padded(prompt_rows)
        with self._active() as model, torch.random.fork_rng():
            torch.manual_seed(seed)
            output = model.generate(**encoded, generation_config=self._generation_config(count))
        answers_BT = output.sequences[:, encoded["input_ids"].shape[1] :].cpu()
        logprobs_BT = _sampled_logprobs(output.logits, answers_BT)
        adapter_hash = self._adapter.content_hash if self._adapter else None
        answers = [
            self._samples.answer(prompt_rows[row // count], ids, logprobs, adapter_hash)
            for row, (ids, logprobs) in enumerate(zip(answers_BT.tolist(), logprobs_BT.tolist(), strict=True))
        ]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _generation_config(self, count: int) -> GenerationConfig:
        """Return the config of plain sampling; the model folder's own would silently change the distribution."""
        return GenerationConfig(
            do_sample=True,
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            top_k=0,
            num_return_sequences=count,
            max_new_tokens=self._settings.max_new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=sorted(self._samples.end_tokens),
            output_logits=True,  # raw: before temperature and truncation
            return_dict_in_generate=True,
        )

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        start = self.prompt_ids(prompt)
        longest = max(len(ids) for ids in answers)
        encoded = self._padded([[*start, *ids] for ids in answers])
        targets_BT = encoded["input_ids"][:, -longest:]
        with self._active() as model:
            logits_BTV = model(**encoded, logits_to_keep=longest + 1).logits[:, :-1].float()
        logprobs_BT = logits_BTV.log_softmax(-1).gather(-1, targets_BT.unsqueeze(-1)).squeeze(-1).cpu()
        return [float(row_T[-len(ids) :].double().sum()) for row_T, ids in zip(logprobs_BT, answers, strict=True)]

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        with self._active() as model:
            return [token_logprobs(model, row) for row in rows]

    def release_memory(self) -> None:
        """Keep the model: it is small, or it would not be in this process."""

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        require_embeddings(rows, self._base, self._tokenizer)
        padded = self._tokenizer.pad({"input_ids": [list(row) for row in rows]}, return_tensors="pt")
        return {name: padded[name].to(self._base.device) for name in ("input_ids", "attention_mask")}

    def close(self) -> None:
        self._drop()


def token_logprobs(model: Any, row: Sequence[int]) -> list[float]:
    """Return log P of every token of the row (T tokens) but the first, in nats, under a loaded model."""
    ids_T = torch.tensor(list(row), device=model.device)
    with torch.inference_mode():
        logits_TV = model(input_ids=ids_T[None], attention_mask=torch.ones_like(ids_T)[None]).logits[0, :-1].float()
    logprobs: list[float] = logits_TV.log_softmax(-1).gather(-1, ids_T[1:, None])[:, 0].tolist()
    return logprobs


def _sampled_logprobs(logits: Sequence[Tensor], answers_BT: Tensor) -> Tensor:
    """Return the log-probs (B, T) of the sampled tokens from the raw logits, one (B, V) tensor per step."""
    columns = [
        step_BV.float().log_softmax(-1).cpu().gather(-1, answers_BT[:, position, None])
        for position, step_BV in enumerate(logits)
    ]
    return torch.cat(columns, dim=1)
