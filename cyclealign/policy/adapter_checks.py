"""Refuse an adapter that vLLM cannot serve, or settings that differ from the stored adapter a round goes on from."""

import json
from pathlib import Path

from cyclealign.config import TrainingSettings
from cyclealign.errors import BadConfig
from cyclealign.policy.adapter_layers import AdaptedLayers, stored_layers, stored_settings
from cyclealign.policy.vllm_command import LORA_RANKS


def require_servable(layers: AdaptedLayers, settings: TrainingSettings, on_cpu: bool = False) -> None:
    """Raise BadConfig if vLLM cannot serve such an adapter: it applies adapters to linear layers alone.

    Args:
        on_cpu: the engine runs on a CPU.
    """
    remedy = 'or set policy.kind = "transformers".'
    if layers.of_mixture and on_cpu:
        raise BadConfig(
            "vLLM runs a mixture of experts with adapters on a GPU alone, and there is none here. Set policy.kind = "
            '"transformers", or training.method = "full" in a new experiment.'
        )
    if layers.experts:
        raise BadConfig(
            f"vLLM cannot serve an adapter on fused experts and routers ({layers.experts[0]} and {len(layers.experts)} "
            f"in all). Set training.lora_targets to 'attention' in a new experiment, {remedy}"
        )
    if layers.embeddings:
        raise BadConfig(
            f"vLLM is not given adapters on embeddings ({layers.embeddings[0]}). Remove them from "
            f"training.lora_targets, {remedy}"
        )
    if settings.modules_to_save:
        raise BadConfig(f"vLLM cannot serve whole modules with an adapter. Remove training.modules_to_save, {remedy}")
    if settings.lora_rank > LORA_RANKS[-1]:
        raise BadConfig(
            f"vLLM serves adapters up to rank {LORA_RANKS[-1]}, and training.lora_rank is {settings.lora_rank}. Lower "
            f"it, {remedy}"
        )


def require_settings_of_parent(settings: TrainingSettings, parent: Path) -> None:
    """Raise BadConfig if a setting of the adapter differs from the stored adapter that training goes on from.

    Rank, scale and modules are those of the adapter's own config, so that a changed setting would have no effect.
    """
    stored = stored_settings(parent)
    if not stored:
        return
    wanted = {
        "lora_rank": (settings.lora_rank, stored.get("r")),
        "lora_alpha": (settings.lora_alpha, stored.get("lora_alpha")),
        "use_rslora": (settings.use_rslora, bool(stored.get("use_rslora"))),
        "modules_to_save": (sorted(settings.modules_to_save), sorted(stored.get("modules_to_save") or ())),
    }
    differing = [(name, now, before) for name, (now, before) in wanted.items() if now != before]
    if differing:
        raise BadConfig(
            "; ".join(f"training.{name} is {now}, and the adapter has {before}" for name, now, before in differing)
            + f". The round goes on from the adapter in {parent}, which keeps its shape. Set "
            + ", ".join(f"training.{name} = {json.dumps(before)}" for name, _, before in differing)
            + ", or start a new experiment."
        )


def require_layers_of_parent(planned: AdaptedLayers, parent: Path) -> None:
    """Raise BadConfig if ``training.lora_targets`` selects other layers than the stored adapter has."""
    stored = stored_layers(parent)
    if planned.names != stored.names:
        raise BadConfig(
            f"training.lora_targets selects {', '.join(planned.short_names)}, and the adapter in {parent}, from which "
            f"the round goes on, changes {', '.join(stored.short_names)}. Remove training.lora_targets, or start a new "
            "experiment."
        )
