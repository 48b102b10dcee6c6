"""The portable policy: transformers and PEFT in this process. For CPUs, small models, and as a reference for vLLM."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
)
from transformers import __version__ as transformers_version
from transformers import logging as transformers_logging
from transformers.pytorch_utils import Conv1D

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy import Answer
from cyclealign.policy.chat_template import prompt_ids
from cyclealign.policy.device import device
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.tokenizer import load_failure, load_tokenizer
from cyclealign.policy.weights import is_full_model
from cyclealign.records import Adapter, Prompt

# Their progress bars would overwrite those of the command line.
transformers_logging.disable_progress_bar()


def load_model(
    model: str, revision: str | None, target_device: str, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a causal language model from safetensors, in evaluation mode; in float32 on a machine without accelerator.

    Raises:
        PolicyError: the folder or id is missing, has no safetensors, or requires remote code without permission.
    """
    refuse_unsafe(model, revision, trust_remote_code)
    try:
        loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            model,
            revision=revision,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            dtype=torch.float32 if device(allow_mps=True) == "cpu" else "auto",
        )
    except (OSError, ValueError) as error:
        raise PolicyError(load_failure("model", model, error)) from error
    return loaded.to(target_device).eval()  # type: ignore[arg-type]


def adaptable_layers(model: str, revision: str | None, trust_remote_code: bool = False) -> tuple[str, ...]:
    """Return the names of the layers that PEFT's "all-linear" adapts: every linear layer except the output head.

    No weights are loaded.
    """
    config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = skeleton.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    layers = (name for name, layer in skeleton.named_modules() if isinstance(layer, kinds) and layer is not head)
    return tuple(sorted({name.rpartition(".")[2] for name in layers}))


class TransformersPolicy:
    """Generates with `transformers`; PEFT swaps adapters in place, full weights replace the loaded model."""

    def __init__(self, settings: PolicySettings, model: str) -> None:
        self._settings, self._name = settings, model
        self._tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
        self._load_weights(None)
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
        return int(self._base.config.max_position_embeddings)

    @property
    def provenance(self) -> dict[str, object]:
        return {"engine": f"transformers {transformers_version}"}

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return prompt_ids(self._tokenizer, prompt.messages)

    def use(self, adapter: Adapter | None) -> None:
        full_model = adapter.path if adapter is not None and is_full_model(Path(adapter.path)) else None
        if full_model != getattr(self, "_weights", ""):  # absent after a load that failed
            self._load_weights(full_model)
        if adapter is not None and full_model is None:
            self._load_adapter(adapter)
        self._adapter = adapter

    def _load_adapter(self, adapter: Adapter) -> None:
        """Activate ``adapter`` and delete all others, so that no name can refer to stale weights."""
        try:
            if not isinstance(self._model, PeftModel):
                self._model = PeftModel.from_pretrained(self._base, adapter.path, adapter_name=adapter.id)
            elif adapter.id not in self._model.peft_config:
                self._model.load_adapter(adapter.path, adapter_name=adapter.id)
        except (OSError, ValueError) as error:
            raise PolicyError(f"The adapter in {adapter.path} cannot be loaded: {error}") from error
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
        encoded = self._padded([self.prompt_ids(prompt) for prompt in prompts])
        with self._active() as model, torch.random.fork_rng():
            torch.manual_seed(seed)
            output = model.generate(**encoded, generation_config=self._generation_config(count))
        answers_BT = output.sequences[:, encoded["input_ids"].shape[1] :].cpu()
        logprobs_BT = _sampled_logprobs(output.logits, answers_BT)
        answers = [self._answer(ids_T, logprobs_T) for ids_T, logprobs_T in zip(answers_BT, logprobs_BT, strict=True)]
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
            eos_token_id=sorted(self._end_tokens()),
            output_logits=True,  # raw: before temperature and truncation
            return_dict_in_generate=True,
        )

    def _end_tokens(self) -> set[int]:
        own = self._base.generation_config.eos_token_id if self._base.generation_config else None
        listed = own if isinstance(own, list) else [own]
        return {token for token in (*listed, self._tokenizer.eos_token_id) if isinstance(token, int)}

    def _answer(self, ids_T: Tensor, logprobs_T: Tensor) -> Answer:
        ids = ids_T.tolist()
        ends = [position for position, token in enumerate(ids) if token in self._end_tokens()]
        length = ends[0] + 1 if ends else len(ids)
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
        logprob_sum = float(logprobs_T[:length].double().sum())
        adapter_hash = self._adapter.content_hash if self._adapter else None
        return Answer(str(text).strip(), tuple(ids[:length]), logprob_sum, "stop" if ends else "length", adapter_hash)

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
