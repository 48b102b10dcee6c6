"""Load student and teacher, check that they share a tokenizer, and save the trained student."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from cyclealign.config import TrainingSettings as AdapterSettings
from cyclealign.distill.opd.config import TrainingSettings
from cyclealign.errors import DistillError, PolicyError
from cyclealign.policy.adapter_layers import lora_config
from cyclealign.policy.attestation import Probe
from cyclealign.policy.device import device
from cyclealign.policy.model_loading import load_adapter, load_model
from cyclealign.policy.probe_logprobs import probe_logprobs, select_probe_rows
from cyclealign.policy.samples import model_end_tokens
from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.policy.weights import is_full_model


@dataclass(frozen=True)
class Source:
    """A model by folder or Hugging Face id; ``setting`` names it in messages."""

    setting: str
    model: str
    revision: str | None = None


def tokenizer_of(source: Source) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer; raise DistillError if it cannot be loaded."""
    try:
        return load_tokenizer(source.model, source.revision)
    except PolicyError as error:
        raise load_error(source, error) from error


def load_error(source: Source, error: PolicyError) -> DistillError:
    """Return the error of a model that cannot be loaded; its own code is never run here, so no permission is named."""
    words = str(error)
    if "trust_remote_code" in words or "custom code" in words:
        words = "it requires its own code to be run, which is refused. Use a model that transformers supports."
    return DistillError(f"{source.setting}: '{source.model}' cannot be loaded: {words}")


def model_of(source: Source, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Load a model in evaluation mode, without dropout, on the GPU if there is one.

    Args:
        dtype: precision of the weights. None: the model's own on a GPU, float32 on a CPU.

    Raises:
        DistillError: it cannot be loaded.
    """
    try:
        model = load_model(source.model, source.revision, device(), dtype=dtype)
    except PolicyError as error:
        raise load_error(source, error) from error
    disable_dropout(model)
    # The model folder's own would silently change the distribution: `generate` takes from it what is not set.
    model.generation_config = GenerationConfig()
    return model


def disable_dropout(model: nn.Module) -> None:
    """Set every probability of dropout to 0, also those that attention keeps as plain numbers."""
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and (name == "p" if isinstance(module, nn.Dropout) else "dropout" in name):
                setattr(module, name, 0.0)


def require_one_tokenizer(student: Source, teacher: Source) -> None:
    """Refuse a pair with different tokenizers: their probabilities would be of different tokens.

    Raises:
        DistillError: a token, the end token or the ids of a text differ; the message names the first difference.
    """
    own, other = tokenizer_of(student), tokenizer_of(teacher)
    own_ids, other_ids = own.get_vocab(), other.get_vocab()
    differing = sorted(token for token in {*own_ids, *other_ids} if own_ids.get(token) != other_ids.get(token))
    found = ""
    if differing:
        token = differing[0]
        found = f"{len(differing)} tokens differ, such as {token!r}: {number(own_ids, token)} and "
        found += number(other_ids, token)
    elif own.eos_token_id != other.eos_token_id:
        found = f"their end tokens are {own.eos_token!r} and {other.eos_token!r}"
    elif ids_of_probe(own) != ids_of_probe(other):
        found = f"they cut the text {PROBE!r} differently"
    if found:
        raise DistillError(
            f"{student.setting} '{student.model}' and {teacher.setting} '{teacher.model}' have different tokenizers: "
            f"{found}. The divergence compares the probabilities of the same tokens. Choose a pair of one model family."
        )


PROBE = "Hello, World! 12,345 = naïve; 你好\n\n  def f(x): return [x]"


def ids_of_probe(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of a text that tokenizers with equal vocabularies may cut differently."""
    return list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])


def number(ids: dict[str, int], token: str) -> str:
    """Return the id of a token as text."""
    return str(ids[token]) if token in ids else "none"


def end_tokens(source: Source, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids that end an answer: the model's and its tokenizer's."""
    own = {tokenizer.eos_token_id} - {None}
    return frozenset(model_end_tokens(source.model, source.revision) | own)


def trainable(source: Source, settings: TrainingSettings, seed: int) -> Any:
    """Load the student to train: all weights in float32, or a new adapter on it; the seed gives the adapter's start.

    Raises:
        DistillError: it cannot be loaded.
        BadConfig: training.lora_targets names a layer that cannot be trained.
    """
    if settings.method == "full":
        # bfloat16 has 8 significant bits, and would round most steps of fine-tuning away.
        return model_of(source, torch.float32)
    base = model_of(source)
    adapter = AdapterSettings(
        lora_rank=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_targets=settings.lora_targets, lora_dropout=0
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(base, lora_config(base, adapter))


def save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the student as safetensors for ``from_pretrained`` of transformers, or of PEFT if it is an adapter."""
    if isinstance(model, PeftModel):
        # The default compares vocabularies on the hub, and may add the whole embeddings to the adapter.
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    else:
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def probe(model: Any, source: Source, rows: Sequence[Sequence[int]]) -> Probe:
    """Return the log-probs of a few rows under the trained student and under its source, for `policy.attestation`.

    With them an engine that serves the student can be checked: it must give the same.
    """
    chosen = select_probe_rows(rows, model)
    before = probe_logprobs(model_of(source), chosen)
    return Probe(chosen, probe_logprobs(model, chosen), parent=before, base=before)


def load(folder: Path, source: Source) -> Any:
    """Load a trained student: a full model, or an adapter on its source."""
    if is_full_model(folder):
        return model_of(Source("student", str(folder)))
    return load_adapter(model_of(source), str(folder)).eval()
