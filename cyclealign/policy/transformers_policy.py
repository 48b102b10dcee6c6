"""The portable policy: transformers and PEFT in this process. For a CPU, small models, and as a check on vLLM."""

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
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
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
from cyclealign.policy.weights import are_whole
from cyclealign.records import Adapter, Prompt

# Loading is a matter of a moment or is told by a line of ours; bars of its own would tear the terminal's.
transformers_logging.disable_progress_bar()


def load_tokenizer(model: str, revision: str | None = None, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the hub, padding on the left as generation needs.

    ``trust_remote_code``: code that comes with the model may run.

    Raises:
        PolicyError: there is none, naming what to do.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise PolicyError(_not_loaded("tokenizer", model, error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_model(model: str, revision: str | None, where: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """Load a causal language model from safetensors only; in float32 unless this machine has an accelerator.

    Raises:
        PolicyError: the folder or id is missing, holds no safetensors, or wants code of its own to run.
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
        raise PolicyError(_not_loaded("model", model, error)) from error
    return loaded.to(where).eval()  # type: ignore[arg-type]


def adaptable_layers(model: str, revision: str | None, trust_remote_code: bool = False) -> tuple[str, ...]:
    """The names of the layers that an adapter for "all-linear" changes: every linear one but the output head.

    Read off the model's structure; no weights are loaded.
    """
    config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = skeleton.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    layers = (name for name, layer in skeleton.named_modules() if isinstance(layer, kinds) and layer is not head)
    return tuple(sorted({name.rpartition(".")[2] for name in layers}))


def _not_loaded(what: str, model: str, error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not Path(model).is_dir():
        return (
            f"No {what} '{model}': it is not a folder here, and no such model could be fetched. Give policy.model a "
            f"folder with config.json, tokenizer and *.safetensors, or a Hugging Face id. ({first_line})"
        )
    return f"The {what} in {model} cannot be loaded: {first_line}"


class TransformersPolicy:
    """Generates with `transformers`; adapters are swapped in place by PEFT, whole weights by loading them."""

    def __init__(self, settings: PolicySettings, model: str) -> None:
        self._settings, self._name = settings, model
        self._tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
        self._load_weights(None)
        self._adapter: Adapter | None = None

    def _load_weights(self, folder: str | None) -> None:
        """Load the whole weights of a folder, or the base model's (None), after those from before are dropped."""
        self._drop()
        model, revision = (folder, None) if folder else (self._name, self._settings.revision)
        self._base = load_model(model, revision, device(allow_mps=True), self._settings.remote_code_trusted)
        self._model: PreTrainedModel | PeftModel = self._base
        self._weights = folder

    def _drop(self) -> None:
        for held in {"_model", "_base", "_weights"} & vars(self).keys():
            delattr(self, held)
        gc.collect()  # PEFT's wrapper and the model point at each other
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
        whole = adapter.path if adapter is not None and are_whole(Path(adapter.path)) else None
        if whole != getattr(self, "_weights", ""):
            self._load_weights(whole)
        if adapter is not None and whole is None:
            self._load(adapter)
        self._adapter = adapter

    def _load(self, adapter: Adapter) -> None:
        """Make ``adapter`` the active one; others that were loaded are dropped, so a name is never a stale one."""
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
            made = model.generate(**encoded, generation_config=self._generation(count))
        answers_BT = made.sequences[:, encoded["input_ids"].shape[1] :].cpu()
        logprobs_BT = _sampled_logprobs(made.logits, answers_BT)
        answers = [self._answer(ids_T, logprobs_T) for ids_T, logprobs_T in zip(answers_BT, logprobs_BT, strict=True)]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _generation(self, count: int) -> GenerationConfig:
        """Plain sampling: a model folder's own generation settings would change the distribution unseen."""
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
        ends = [place for place, token in enumerate(ids) if token in self._end_tokens()]
        length = ends[0] + 1 if ends else len(ids)
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
        logprob_sum = float(logprobs_T[:length].double().sum())
        maker = self._adapter.content_hash if self._adapter else None
        return Answer(str(text).strip(), tuple(ids[:length]), logprob_sum, "stop" if ends else "length", maker)

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
        """Nothing: the model lies in this process, which trains too where it is small enough for that."""

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        padded = self._tokenizer.pad({"input_ids": [list(row) for row in rows]}, return_tensors="pt")
        return {name: padded[name].to(self._base.device) for name in ("input_ids", "attention_mask")}

    def close(self) -> None:
        self._drop()


def token_logprobs(model: Any, row: Sequence[int]) -> list[float]:
    """Log P of every token of the row but the first, in nats, under a loaded model (with or without an adapter)."""
    ids_T = torch.tensor(list(row), device=model.device)
    with torch.inference_mode():
        logits_TV = model(input_ids=ids_T[None], attention_mask=torch.ones_like(ids_T)[None]).logits[0, :-1].float()
    found: list[float] = logits_TV.log_softmax(-1).gather(-1, ids_T[1:, None])[:, 0].tolist()
    return found


def _sampled_logprobs(logits: Sequence[Tensor], answers_BT: Tensor) -> Tensor:
    """Log-probs (B, T) of the sampled tokens from the raw logits, one (B, V) tensor a step."""
    columns = [
        step_BV.float().log_softmax(-1).cpu().gather(-1, answers_BT[:, place, None])
        for place, step_BV in enumerate(logits)
    ]
    return torch.cat(columns, dim=1)
