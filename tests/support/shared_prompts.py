"""Tiny random models of several architectures, and the scores and gradients of a batch of answers in each form."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from cyclealign.training.collate import collate_lists, list_rows
from cyclealign.training.job import RankedAnswers
from cyclealign.training.scoring import Scoring, add_scoring
from cyclealign.training.shared_prompt import Form

VOCABULARY = 61
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,  # attention that is not uniform
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
# Windows are shorter than the longer prompts of `LISTS`.
GEMMA: dict[str, Any] = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}
CAPS: dict[str, Any] = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "attn_implementation": "eager"}
CONFIGS: Mapping[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "qwen2": lambda: Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**GROUPED, head_dim=8),
    "qwen3_moe": lambda: Qwen3MoeConfig(**GROUPED, head_dim=8, **EXPERTS),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=4),
    "gemma2": lambda: Gemma2Config(**GEMMA, **CAPS, layer_types=["sliding_attention", "full_attention"]),
    "gemma3": lambda: Gemma3TextConfig(
        **GEMMA, final_logit_softcapping=3.0, layer_types=["sliding_attention", "full_attention"]
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES),
}
# Uneven lists of several prompts, a thought that is not learnt, an answer of one token; two lists have one prompt.
LISTS = (
    RankedAnswers(tuple(range(3, 14)), ((20, 21, 22, 2), (23, 2), (24, 25, 26, 27, 28, 29, 2)), 1.0),
    RankedAnswers((5, 6), ((30, 31, 2), (32,)), 1.0),
    RankedAnswers(tuple(range(9, 16)), ((33, 34, 35, 36, 2), (37, 38, 39, 2)), 1.0, thought_lengths=(2, 0)),
    RankedAnswers((5, 6), ((40, 41, 42, 43, 2), (44, 45)), 1.0),
)


def tiny_model(kind: str, lora: bool = True, dtype: torch.dtype = torch.float64) -> Any:
    """Return a random model with our scoring, in training mode; ``model.scoring`` is its `Scoring`."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(CONFIGS[kind]())
    add_fused_lm_head(base)
    scoring = Scoring()
    add_scoring(base, scoring)
    model = base
    if lora:
        model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    model.to(dtype).train()
    model.scoring = scoring
    return model


def batch_of(lists: Sequence[RankedAnswers] = LISTS) -> dict[str, Tensor]:
    """Return the rows of the lists, shuffled."""
    batch = collate_lists(list_rows(lists), pad_id=0)
    order = torch.randperm(len(batch["input_ids"]), generator=torch.Generator().manual_seed(1))
    return {name: batch[name][order] for name in ("input_ids", "attention_mask", "labels", "prompt_lengths")}


def score_with_gradients(model: Any, form: Form, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the log-probs, shape (A, T - 1), and the gradient of a weighted sum of them by every trained parameter."""
    model.scoring.form = form
    model.zero_grad()
    log_probs = model(**batch, fused_lm_head=True).log_probs
    slopes = torch.linspace(-1, 2, log_probs.numel(), dtype=log_probs.dtype).view(log_probs.shape)
    (log_probs * slopes).sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return log_probs.detach(), gradients
