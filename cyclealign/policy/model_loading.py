"""Load the policy's model from a folder or the hub, text and multimodal checkpoints alike, and adapters on it."""

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from cyclealign.errors import PolicyError
from cyclealign.policy.device import device
from cyclealign.policy.load_failures import load_failure
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.tokenizer import is_multimodal, load_config

# Their progress bars would overwrite those of the command line.
transformers_logging.disable_progress_bar()


def load_model(
    model: str,
    revision: str | None,
    target_device: str,
    trust_remote_code: bool = False,
    dtype: torch.dtype | None = None,
    quantisation: Any = None,
) -> PreTrainedModel:
    """Load a language model from safetensors, in evaluation mode.

    Args:
        dtype: precision of the weights. None: that of config.json, or float32 on a machine without accelerator.
        quantisation: a config of transformers, by which the weights are quantised while they are loaded.

    Raises:
        PolicyError: the folder or id is missing, has no safetensors, or requires remote code without permission.
    """
    refuse_unsafe(model, revision, trust_remote_code)
    config = load_config(model, revision, trust_remote_code)
    default = torch.float32 if device(allow_mps=True) == "cpu" else "auto"
    try:
        loaded, report = auto_class(config).from_pretrained(
            model,
            revision=revision,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            dtype=dtype or default,
            output_loading_info=True,
            **({"quantization_config": quantisation, "device_map": {"": target_device}} if quantisation else {}),
        )
    except (OSError, ValueError) as error:
        raise PolicyError(load_failure("model", model, error)) from error
    _require_complete(model, report["missing_keys"])
    built: PreTrainedModel = (loaded if quantisation else loaded.to(target_device)).eval()
    return built


def _require_complete(model: str, missing: Collection[str]) -> None:
    """Raise PolicyError if files lack weights: transformers would fill them with random numbers and a warning."""
    if missing:
        raise PolicyError(
            f"The files of {model} have no weights for {min(missing)} and {len(missing)} tensors in all. Copy the "
            "model again, or name the class that saved it under architectures in its config.json."
        )


def skeleton(model: str, revision: str | None, trust_remote_code: bool = False) -> PreTrainedModel:
    """Return the model without weights, on the meta device: its layers have names and shapes only."""
    config = load_config(model, revision, trust_remote_code)
    with torch.device("meta"):
        built: PreTrainedModel = auto_class(config).from_config(config, trust_remote_code=trust_remote_code)
    return built


def auto_class(config: PretrainedConfig) -> Any:
    """Return the Auto class that loads the class that the checkpoint was saved from.

    A multimodal checkpoint keeps its vision tower: layers then have the names by which vLLM knows them, and full
    weights are saved complete.
    """
    kind = type(config)
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        multimodal = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[kind].__name__
        if multimodal in (config.architectures or ()) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
            return AutoModelForImageTextToText
    return AutoModelForCausalLM


def language_model_name(model: PreTrainedModel) -> str:
    """Return the name of the language model among the modules of a multimodal model; "" for a model of text alone.

    Raises:
        PolicyError: a multimodal model has no module that is its language model.
    """
    if not is_multimodal(model.config):
        return ""
    decoder: Any = model.get_decoder()
    names: list[str] = [name for name, module in model.named_modules() if module is decoder and name]
    if not names:
        raise PolicyError(
            f"The language model of {type(model).__name__} cannot be told from its other parts. Use the text-only "
            "checkpoint of this model."
        )
    return names[0]


def require_embeddings(
    rows: Sequence[Sequence[int]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise PolicyError if a token has no embedding: it was added to the tokenizer and never to the model."""
    size = model.get_input_embeddings().num_embeddings
    beyond = next((token for row in rows for token in row if token >= size), None)
    if beyond is not None:
        raise PolicyError(
            f"The tokenizer of {tokenizer.name_or_path} has the token {tokenizer.convert_ids_to_tokens(beyond)!r} "
            f"({beyond}), and the model's embedding has {size:,} rows. Use the tokenizer that belongs to the model, or "
            "save the model after model.resize_token_embeddings(len(tokenizer))."
        )


def load_adapter(
    model: PreTrainedModel | PeftModel,
    folder: str,
    name: str = "default",
    is_trainable: bool = False,
    config: PeftConfig | None = None,
) -> PeftModel:
    """Return the model with the adapter of a folder, under ``name``; other adapters stay loaded.

    Raises:
        PolicyError: the files are missing, or belong to another model.
    """
    missing: list[str] = []
    try:
        if isinstance(model, PeftModel):
            missing = list(model.load_adapter(folder, adapter_name=name, is_trainable=is_trainable).missing_keys)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Found missing adapter keys")
                model = PeftModel.from_pretrained(
                    model, folder, adapter_name=name, is_trainable=is_trainable, config=config
                )
    except (OSError, ValueError, RuntimeError, UserWarning) as error:
        raise PolicyError(f"The adapter in {folder} cannot be loaded: {error}") from error
    if missing:
        raise PolicyError(f"The adapter in {folder} is of another model: it has no weights for {missing[0]}.")
    return model
