"""A prompt computed once for its answers: log-probs and gradients are those of each answer with its prompt."""

import pytest
import torch
import trl.trainer.utils

from cyclealign.training.shared_prompt import PADDING, CannotShare, PromptRows, packed_mask
from tests.support.float64_head import Float64Head, KeepFloat64
from tests.support.shared_prompts import CONFIGS, batch_of, score_with_gradients, tiny_model

FORMS = ("cached", "packed")


@pytest.fixture(autouse=True)
def float64_head(monkeypatch):
    """TRL's function for trained heads, and the models' norms and softmax, in float64."""
    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Float64Head)
    with KeepFloat64():
        yield


def check_equal(one, other, tolerance):
    log_probs, gradients = one
    others, other_gradients = other
    assert torch.allclose(log_probs, others, rtol=tolerance, atol=tolerance)
    assert gradients.keys() == other_gradients.keys()
    assert max(gradient.abs().max().item() for gradient in gradients.values()) > 1e-2
    for name, gradient in gradients.items():
        size = max(1.0, gradient.abs().max().item())
        assert torch.allclose(gradient, other_gradients[name], rtol=0, atol=tolerance * size), name


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind != "qwen3_moe"])  # experts are not float64
def test_log_probs_and_gradients_are_those_of_repeated_prompts(kind, lora):
    """Prevents answers that see each other, wrong positions or windows, and gradients that miss the shared prompt."""
    model, batch = tiny_model(kind, lora), batch_of()
    repeated = score_with_gradients(model, "repeated", batch)
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    for form in FORMS:
        seen.clear()
        check_equal(repeated, score_with_gradients(model, form, batch), 1e-9)
        assert sum(seen) < batch["input_ids"].numel()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3_moe"])
def test_in_float32_too(kind, form):
    """Prevents a form that is exact in float64 alone, and masks whose padding overflows."""
    model, batch = tiny_model(kind, dtype=torch.float32), batch_of()
    check_equal(score_with_gradients(model, "repeated", batch), score_with_gradients(model, form, batch), 1e-5)


def test_packed_rows_keep_gradient_checkpointing():
    """Prevents a cache that the layers drop in silence: each answer would lose its prompt."""
    model, batch = tiny_model("llama", dtype=torch.float32), batch_of()
    repeated = score_with_gradients(model, "repeated", batch)
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    check_equal(repeated, score_with_gradients(model, "packed", batch), 1e-5)
    with pytest.raises(CannotShare, match="other states"):
        score_with_gradients(model, "cached", batch)


def test_rows_without_a_common_prompt_are_computed_as_they_are():
    """Prevents more work than before where there is nothing to share."""
    model, batch = tiny_model("llama"), batch_of()
    first = {name: value[[0, 1]] for name, value in batch.items()}
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    for form in ("repeated", *FORMS):
        score_with_gradients(model, form, first)
    assert seen == [first["input_ids"].shape] * 3


def test_tokens_of_each_form():
    """Prevents passes that are larger than asked for, because prompts are counted once that are computed often."""
    rows = PromptRows.of([[1, 2, 3, 7, 8], [1, 2, 3, 9], [4, 5, 6, 7, 8]], [3, 3, 1])
    assert rows.prompts == ((1, 2, 3), (4,))
    assert rows.answers == ((7,), (), (5, 6, 7))
    assert [rows.tokens(form) for form in ("repeated", "cached", "packed")] == [15, 2 * 3 + 3 * 3, 2 * 4]
    assert rows.lengths == [5, 4, 5]
    assert rows.take([2, 1]) == PromptRows(((4,), (1, 2, 3)), ((5, 6, 7), ()), (0, 1))


def test_an_answer_sees_the_prompt_and_itself():
    """Prevents answers that see each other, and a window that is measured in the packed row."""
    number, position = torch.tensor([[0, 0, 1, 1, 2, PADDING]]), torch.tensor([[0, 1, 2, 3, 2, 0]])
    seen = packed_mask(number, position)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]
    assert packed_mask(number, position, window=2)[0, 0, 4].int().tolist() == [0, 1, 0, 0, 1, 0]
