"""QLoRA (Dettmers et al., 2023, arXiv 2305.14314): an adapter is trained on a base model in 4 bits.

The quantised base exists in the training process alone. Policy and vLLM apply the adapter to the unquantised base, so
the adapter's probe is measured there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, PreTrainedModel

from cyclealign.errors import TrainingFailed
from cyclealign.policy.model_loading import load_model
from cyclealign.training.job import TrainingJob


def quantised_base(job: TrainingJob) -> PreTrainedModel:
    """Load the base model in NF4 with double quantisation, frozen, ready for an adapter.

    What is not quantised (embeddings, output head, norms) is in float32, as PEFT prepares it. The trainer turns on
    gradient checkpointing, for quantised and other models alike.

    Raises:
        TrainingFailed: the weights are to be sharded over processes.
    """
    if any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")):
        raise TrainingFailed(
            "training.quantise does not go together with FSDP and DeepSpeed. Remove it, or use a file in "
            "training.accelerate_config without them: each process then holds the whole base model in 4 bits. The "
            "judged lists are kept: the next start begins at training."
        )
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=job.settings.quantise,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    base = load_model(job.model, job.revision, own_device(), job.trust_remote_code, quantisation=quantisation)
    prepared: PreTrainedModel = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    return prepared


def own_device() -> str:
    """Return the device of this training process: its weights are quantised there, and stay."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


@contextmanager
def adapter_in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Undo TRL's cast of a quantised model's adapter to bfloat16 in the block, to the bit.

    The small steps of a round would be rounded away in 8 significant bits; an adapter in float32 takes little memory.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    before = {name: weight.detach().float().clone() for name, weight in trained.items()}
    yield
    for name, weight in trained.items():
        weight.data = before[name].to(weight.device)
