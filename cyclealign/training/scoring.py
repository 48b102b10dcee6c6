"""Log-probs of the answers of a batch: a model's forward pass that computes prompts once and projects answers alone."""

import functools
import types
from dataclasses import dataclass
from typing import Any

import trl.trainer.utils
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from cyclealign.training.frozen_head import CHUNK_ELEMENTS, PerToken, frozen_head_logprobs
from cyclealign.training.shared_prompt import Form, PromptRows, shared_states

IGNORED_LABEL = -100  # of tokens without a loss, by the convention of transformers


@dataclass
class Scoring:
    """The way in which a training scores its batches.

    Attributes:
        form: how the prompt of several answers is computed.
        outputs: values per token, among those of `PerToken`.
        remark: the reason why prompts are repeated although they should be shared.
        by_library: TRL's forward pass alone, which gathers weights that are sharded over processes.
    """

    form: Form = "repeated"
    outputs: tuple[str, ...] = ("log_probs",)
    by_library: bool = False
    remark: str | None = None


def add_scoring(model: PreTrainedModel, scoring: Scoring) -> None:
    """Replace the forward pass of a model with TRL's fused head; it has a further argument ``prompt_lengths``.

    As TRL's, it is a patch of the base model, so that adapters and the wrappers of distributed training stay around it.
    Only positions with a label are projected, on any device. ``prompt_lengths``, shape (A,), is the number of tokens of
    each row's prompt; rows with equal prompts share them in the form ``scoring.form``.
    """
    library_forward = model.forward

    # Keeps the signature: `generate` checks its arguments against it.
    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        fused_lm_head: bool = False,
        prompt_lengths: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if not fused_lm_head:
            return library_forward(*args, **kwargs)
        if scoring.by_library:
            return library_forward(*args, fused_lm_head=True, **kwargs)
        return score(self, scoring, prompt_lengths, **kwargs)

    model.forward = types.MethodType(forward, model)


def score(
    model: PreTrainedModel,
    scoring: Scoring,
    prompt_lengths: Tensor | None,
    *,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    **kwargs: Any,
) -> FusedCausalLMOutput:
    """Return the values of each token with a label, shape (A, T - 1); 0 elsewhere."""
    labels = labels[:, 1:]
    mask = labels != IGNORED_LABEL
    rows = shared_rows(scoring.form, input_ids, attention_mask, prompt_lengths)
    if rows is None:
        kwargs["use_cache"] = False
        outputs = model.base_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        states_NH = outputs.last_hidden_state[:, :-1][mask]
    else:
        rows_N, columns_N = mask.nonzero(as_tuple=True)
        states_NH = shared_states(model.base_model, rows, scoring.form, rows_N, columns_N + 1)
    values = head_logprobs(model, states_NH, labels[mask], scoring.outputs)
    placed = {
        # `masked_scatter` keeps the graph if no token has a label.
        name: value.new_zeros(mask.shape).masked_scatter(mask.to(value.device), value)
        for name, value in values._asdict().items()
        if value is not None
    }
    return FusedCausalLMOutput(**placed, label_mask=mask)


def shared_rows(
    form: Form, input_ids: Tensor, attention_mask: Tensor, prompt_lengths: Tensor | None
) -> PromptRows | None:
    """Return the rows by prompt, or None if computing prompts once would save nothing."""
    if form == "repeated" or prompt_lengths is None or len(input_ids) < 2 or int(prompt_lengths.min()) < 1:
        return None
    rows = prompt_rows(input_ids, attention_mask, prompt_lengths)
    return rows if rows.tokens(form) < rows.tokens("repeated") else None


def prompt_rows(input_ids: Tensor, attention_mask: Tensor, prompt_lengths: Tensor) -> PromptRows:
    """Return the rows of a batch, padded on the right, by prompt."""
    lengths = attention_mask.sum(-1).tolist()
    ids = [row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)]
    return PromptRows.of(ids, prompt_lengths.tolist())


def head_logprobs(model: PreTrainedModel, states_NH: Tensor, labels_N: Tensor, outputs: tuple[str, ...]) -> PerToken:
    """Project the hidden states of the scored tokens in chunks.

    By TRL's function if the head is trained, or where TRL has a kernel of its own (Triton); otherwise by ours.
    """
    config = model.config.get_text_config()
    softcap, scale = getattr(config, "final_logit_softcapping", None), logit_scale(config)
    head: Any = model.get_output_embeddings()
    weight, bias = head.weight, getattr(head, "bias", None)
    states_NH, labels_N = states_NH.to(weight.device), labels_N.to(weight.device)
    library: Any = trl.trainer.utils
    on_kernel = library._use_triton(weight.device)
    if not (on_kernel or weight.requires_grad or (bias is not None and bias.requires_grad)):
        return frozen_head_logprobs(states_NH, weight, bias, labels_N, softcap, scale, outputs)
    chunk = library._CHUNKED_LOGPROB_CHUNK_SIZE
    if not on_kernel:
        chunk = max(1, min(chunk, CHUNK_ELEMENTS // max(1, min(len(states_NH), 4096))))  # 4096: TRL's tokens of a tile
    function = library._ChunkedLogProbFunction
    return PerToken(*function.apply(states_NH, weight, bias, labels_N, 1.0, chunk, softcap, scale, outputs))


def logit_scale(config: Any) -> float:
    """Return the factor of the logits, under the names of the model types that have one, as TRL reads them."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return float(getattr(config, name))
    scaling = getattr(config, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling if config.model_type == "hyperclovax" else 1 / scaling)
