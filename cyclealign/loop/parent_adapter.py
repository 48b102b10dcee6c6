"""Check, before a round is opened or trained, that an adapter of these settings can be trained and served."""

from pathlib import Path

from cyclealign.config import ExperimentConfig
from cyclealign.policy.adapter_checks import require_layers_of_parent, require_servable, require_settings_of_parent
from cyclealign.policy.adapter_layers import planned_layers, stored_layers
from cyclealign.policy.vllm_command import runs_on_cpu
from cyclealign.policy.weights import is_full_model
from cyclealign.records import Adapter


def require_trainable(config: ExperimentConfig, model: str, parent: Adapter | None) -> None:
    """Check rank, scale and layers of the adapter that a round would train; no weights are loaded.

    Args:
        model: folder or hub id of the base model.
        parent: the adapter from which the round goes on.

    Raises:
        BadConfig: they differ from the parent's, or the model has no such layers, or vLLM cannot serve them.
    """
    settings, policy = config.training, config.policy
    if settings.method == "full" or (parent is not None and is_full_model(Path(parent.path))):
        return
    served = policy.kind == "vllm"
    planned = None
    if parent is None or settings.lora_targets or served:
        planned = planned_layers(model, policy.revision, policy.remote_code_trusted, settings)
    if parent is not None:
        folder = Path(parent.path)
        require_settings_of_parent(settings, folder)
        if planned is not None and settings.lora_targets:
            require_layers_of_parent(planned, folder)
    if served and planned is not None:
        require_servable(planned, settings, runs_on_cpu(config.engine))
        if parent is not None:
            require_servable(stored_layers(Path(parent.path)), settings)
