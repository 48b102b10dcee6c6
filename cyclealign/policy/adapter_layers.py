"""The layers that a LoRA adapter changes: one answer for training, which adapts them, and for vLLM, which is told them.

By default every linear layer of the language model, without output head and embeddings; in a mixture of experts the
attention alone. The vision tower of a multimodal model is never adapted.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from cyclealign.config import TrainingSettings
from cyclealign.errors import BadConfig
from cyclealign.policy.model_loading import language_model_name, skeleton
from cyclealign.policy.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS

ALL_LINEAR, ATTENTION = "all-linear", "attention"
# Ends of the names by which PEFT stores an adapter on the fused weights of experts (two, one around the other) and
# routers: parameters, which it wraps as if they were layers.
FUSED = (".experts", ".experts.base_layer", ".gate", ".router")


@dataclass(frozen=True)
class AdaptedLayers:
    """The layers of an adapter, by their full names in the base model.

    Attributes:
        linear: linear layers.
        embeddings: token embeddings.
        experts: modules with fused weights of experts or routers, which are parameters and not layers.
        of_mixture: the model is a mixture of experts, adapted there or not; None: not known.
    """

    linear: tuple[str, ...]
    embeddings: tuple[str, ...]
    experts: tuple[str, ...]
    of_mixture: bool | None = None

    @property
    def names(self) -> set[str]:
        """The names of all of them."""
        return {*self.linear, *self.embeddings, *self.experts}

    @property
    def short_names(self) -> tuple[str, ...]:
        """The last part of each linear layer's name, sorted: q_proj, v_proj ..."""
        return tuple(sorted({name.rpartition(".")[2] for name in self.linear}))


def lora_config(model: PreTrainedModel, settings: TrainingSettings) -> LoraConfig:
    """Return PEFT's config of a new adapter.

    Raises:
        BadConfig: training.lora_targets or training.modules_to_save names a layer that cannot be trained.
    """
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        target_modules=target_layers(model, settings.lora_targets),
        modules_to_save=modules_to_save(model, settings.modules_to_save),
        task_type="CAUSAL_LM",
    )


def target_layers(model: PreTrainedModel, targets: tuple[str, ...]) -> list[str] | str:
    """Return the layers that ``training.lora_targets`` selects, as PEFT takes them.

    Raises:
        BadConfig: a name selects no layer, or the output head.
    """
    within = language_model_name(model)
    chosen = targets or ((ATTENTION,) if has_experts(model) else (ALL_LINEAR,))
    if chosen == (ALL_LINEAR,) and not within:
        return ALL_LINEAR  # PEFT's own choice, which leaves the output head out
    layers = [name for name in _trainable_layers(model) if not within or name.startswith(f"{within}.")]
    linear = [name for name in layers if not isinstance(model.get_submodule(name), nn.Embedding)]
    if chosen == (ALL_LINEAR,):
        return linear
    if chosen == (ATTENTION,):
        return _attention(linear)
    return [layer for name in chosen for layer in _named(name, layers, model)]


def _trainable_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of the linear layers, without the output head, and of the embeddings."""
    head, kinds = model.get_output_embeddings(), (nn.Linear, Conv1D, nn.Embedding)
    return [name for name, layer in model.named_modules() if isinstance(layer, kinds) and layer is not head]


def _attention(linear: Iterable[str]) -> list[str]:
    chosen = [name for name in linear if any("attn" in part or "attention" in part for part in name.split(".")[:-1])]
    if not chosen:
        raise BadConfig(
            f"training.lora_targets: this model has no layers of attention by name. Name the layers: {_listed(linear)}."
        )
    return chosen


def _named(name: str, layers: Iterable[str], model: PreTrainedModel) -> list[str]:
    """Return the layers of that name: a full name, or the end of one ("q_proj", "mlp.down_proj")."""
    chosen = [layer for layer in layers if layer == name or layer.endswith(f".{name}")]
    if chosen:
        return chosen
    head = next((found for found, layer in model.named_modules() if layer is model.get_output_embeddings()), "")
    if name in (head, head.rpartition(".")[2]):
        raise BadConfig(
            f"training.lora_targets: '{name}' is the output head, whose weights training reads directly, so that an "
            "adapter on it would not be trained. Remove it."
        )
    raise BadConfig(f"training.lora_targets: the model has no layer '{name}'. Its layers: {_listed(layers)}.")


def _listed(layers: Iterable[str]) -> str:
    return ", ".join(sorted({layer.rpartition(".")[2] for layer in layers})) or "none"


def modules_to_save(model: PreTrainedModel, names: tuple[str, ...]) -> list[str] | None:
    """Return the modules that are trained whole and saved with the adapter.

    Raises:
        BadConfig: the model has no such module.
    """
    modules = [name for name, _ in model.named_modules() if name]
    for name in names:
        if not any(module == name or module.endswith(f".{name}") for module in modules):
            raise BadConfig(f"training.modules_to_save: the model has no module '{name}', such as {_listed(modules)}.")
    return list(names) or None


def has_experts(model: PreTrainedModel) -> bool:
    """Return whether the model is a mixture of experts: their weights are a list of modules, or fused."""
    return any(
        name.rpartition(".")[2] == "experts" or "Experts" in type(module).__name__
        for name, module in model.named_modules()
    )


def adapted_layers(model: PeftModel) -> AdaptedLayers:
    """Return the layers that the active adapter of a model changes."""
    linear: list[str] = []
    embeddings: list[str] = []
    experts: list[str] = []
    for name, layer in model.get_base_model().named_modules():
        if isinstance(layer, ParamWrapper):
            experts.append(name)
        elif isinstance(layer, BaseTunerLayer):
            wrapped: Any = layer.get_base_layer()
            (embeddings if isinstance(wrapped, nn.Embedding) else linear).append(name)
    return AdaptedLayers(tuple(linear), tuple(embeddings), tuple(experts), has_experts(model))


def planned_layers(
    model: str, revision: str | None, trust_remote_code: bool, settings: TrainingSettings
) -> AdaptedLayers:
    """Return the layers that a new adapter would change; no weights are loaded.

    Raises:
        BadConfig: the settings name a layer that cannot be trained.
    """
    bare = skeleton(model, revision, trust_remote_code)
    with torch.device("meta"):
        adapted = get_peft_model(bare, lora_config(bare, settings))
    assert isinstance(adapted, PeftModel)
    return adapted_layers(adapted)


def stored_layers(adapter: Path) -> AdaptedLayers:
    """Return the layers that a stored adapter changes, by the names of its tensors; none for full weights."""
    file, linear, embeddings, experts = adapter / ADAPTER_WEIGHTS, set[str](), set[str](), set[str]()
    names: list[str] = []
    if file.is_file():
        with safe_open(file, framework="pt") as tensors:
            names = [name.removeprefix("base_model.model.") for name in tensors.keys()]  # noqa: SIM118
    for name in names:
        if ".lora_embedding_A" in name:
            embeddings.add(name.partition(".lora_embedding_A")[0])
        elif ".lora_A" in name:
            layer = name.partition(".lora_A")[0]
            (experts if layer.endswith(FUSED) else linear).add(layer)
    return AdaptedLayers(tuple(sorted(linear)), tuple(sorted(embeddings)), tuple(sorted(experts)))


def stored_settings(adapter: Path) -> dict[str, Any]:
    """Return PEFT's config of a stored adapter; {} if there is none, as for full weights."""
    file = adapter / ADAPTER_CONFIG
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return values
