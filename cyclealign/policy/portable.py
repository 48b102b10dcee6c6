"""Trained weights as a folder that PEFT, transformers and vLLM load without this project."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import cached_file

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy.attestation import Probe
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.policy.model_loading import load_adapter, load_model
from cyclealign.policy.probe_logprobs import probe_logprobs
from cyclealign.policy.samples import SampleReader
from cyclealign.policy.tokenizer import is_multimodal, load_config, load_tokenizer
from cyclealign.policy.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_PARTS, is_full_model

# Of multimodal models: how images are read, without which other programs do not load the checkpoint.
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


@dataclass(frozen=True)
class Portable:
    """A written folder.

    Attributes:
        whole: all weights of a model; False: an adapter.
        dtype: the precision of whole weights as they are served; empty for an adapter.
        difference: largest absolute difference between the log-probs of the probe under the written weights and those
            at the end of training, in nats. None: the weights are a copy of the trained ones, or have no probe.
        end_tokens: texts of the tokens that end an answer.
    """

    whole: bool
    dtype: str
    difference: float | None
    end_tokens: tuple[str, ...]


def write_portable(
    settings: PolicySettings, model: str, trained: Path, folder: Path, base_name: str, merged: bool
) -> Portable:
    """Write trained weights with tokenizer, chat template and generation config into an empty folder.

    Full weights are copied. An adapter is copied, or added to the base model's weights: in float32, and stored in the
    precision of the base model.

    Args:
        model: folder or hub id of the base model.
        trained: the folder of the trained weights.
        base_name: name of the base model in the adapter's config, by which PEFT finds it.
        merged: write all weights of the model in place of an adapter.

    Raises:
        PolicyError: the base model or the adapter cannot be loaded, or the sum of both is not finite.
    """
    dtype, difference = "", None
    if is_full_model(trained):
        _copy_model(trained, folder)
        dtype = _name(load_config(str(trained), None, settings.remote_code_trusted).dtype)
    elif merged:
        dtype, difference = _write_merged(settings, model, trained, folder)
    else:
        _copy_adapter(settings, trained, folder, base_name)
    whole = merged or is_full_model(trained)
    if whole and is_multimodal(load_config(str(folder), None, settings.remote_code_trusted)):
        _copy_processor(settings, model, folder)
    end_tokens = _write_tokenizer(settings, model, folder)
    return Portable(whole, dtype, difference, end_tokens)


def _copy_model(trained: Path, folder: Path) -> None:
    for path in sorted({path for pattern in MODEL_PARTS for path in trained.glob(pattern)}):
        shutil.copyfile(path, folder / path.name)


def _copy_adapter(settings: PolicySettings, trained: Path, folder: Path, base_name: str) -> None:
    """Copy an adapter without its probe, whose token ids are rows of the training data."""
    shutil.copyfile(trained / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config: dict[str, Any] = json.loads((trained / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base_name, "revision": settings.revision, "inference_mode": True}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_merged(settings: PolicySettings, model: str, trained: Path, folder: Path) -> tuple[str, float | None]:
    """Write the sum of base model and adapter; return its precision and the difference on the adapter's probe."""
    trusted = settings.remote_code_trusted
    base = load_model(model, settings.revision, "cpu", trusted, torch.float32)
    try:
        summed: PreTrainedModel = load_adapter(base, str(trained)).merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise PolicyError(f"The adapter in {trained} cannot be merged into {model}: {error}") from error
    config = load_config(model, settings.revision, trusted)
    dtype = config.dtype or config.get_text_config().dtype or torch.float32
    summed.to(dtype).save_pretrained(str(folder))
    del base, summed  # one model at a time
    return _name(dtype), _difference(Probe.load(trained), folder, trusted)


def _copy_processor(settings: PolicySettings, model: str, folder: Path) -> None:
    for name in PROCESSOR_FILES:
        path = cached_file(model, name, revision=settings.revision, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            shutil.copyfile(path, folder / name)


def _difference(probe: Probe | None, folder: Path, trust_remote_code: bool) -> float | None:
    if probe is None:
        return None
    written = probe_logprobs(load_model(str(folder), None, "cpu", trust_remote_code, torch.float32), probe.rows)
    return max(abs(found - trained) for found, trained in zip(written, probe.own, strict=True))


def _write_tokenizer(settings: PolicySettings, model: str, folder: Path) -> tuple[str, ...]:
    """Write tokenizer, chat template and generation config; return the texts of the end tokens."""
    tokenizer = load_tokenizer(model, settings.revision, settings.remote_code_trusted)
    end_tokens = sorted(SampleReader(tokenizer, settings, model).end_tokens)
    tokenizer.chat_template = ChatTemplate(tokenizer, settings).source
    tokenizer.save_pretrained(str(folder))
    # As the answers of a round are sampled, except for their length, which would limit other uses too.
    GenerationConfig(
        do_sample=True,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        eos_token_id=end_tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    ).save_pretrained(str(folder))
    return tuple(str(tokenizer.convert_ids_to_tokens(token)) for token in end_tokens)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.") if dtype is not None else "float32"
