"""Teacher and student: one tokenizer, no dropout, and files that plain transformers and PEFT load."""

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from cyclealign.distill.opd import student
from cyclealign.distill.opd.config import TrainingSettings
from cyclealign.distill.opd.student import Source
from cyclealign.errors import DistillError

pytestmark = pytest.mark.slow


def copy_with(folder, source, change):
    """Write the tokenizer of a source with a change; return its source."""
    tokenizer = AutoTokenizer.from_pretrained(source.model)
    changed = change(tokenizer)
    (changed or tokenizer).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return Source("teacher.model", str(folder))


def test_another_tokenizer_is_refused_with_the_first_difference(tmp_path, student_source, teacher_source):
    """Prevents probabilities of different tokens from being compared in silence."""
    student.require_one_tokenizer(student_source, teacher_source)
    more = copy_with(tmp_path, student_source, lambda tokenizer: tokenizer.add_tokens(["<more>"]) and None)
    with pytest.raises(DistillError, match=r"different tokenizers: 1 tokens differ, such as '<more>': none and \d+"):
        student.require_one_tokenizer(student_source, more)


def test_another_end_token_is_refused(tmp_path, student_source):
    """Prevents a student that is taught to end its answers by a token that does not end them."""

    def change(tokenizer):
        tokenizer.eos_token = "<|user|>"

    with pytest.raises(DistillError, match=r"end tokens are '<\|end\|>' and '<\|user\|>'"):
        student.require_one_tokenizer(student_source, copy_with(tmp_path, student_source, change))


def test_other_merges_of_one_vocabulary_are_refused(tmp_path, student_source):
    """Prevents two tokenizers with equal vocabularies, which cut texts differently, from passing."""

    def change(tokenizer):
        core = tokenizer.backend_tokenizer
        from tokenizers import models

        core.model = models.BPE(vocab=tokenizer.get_vocab(), merges=[])
        return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=tokenizer.eos_token)

    with pytest.raises(DistillError, match=r"cut the text .* differently"):
        student.require_one_tokenizer(student_source, copy_with(tmp_path, student_source, change))


def test_dropout_is_off_wherever_it_is_kept():
    """Prevents noise in the student's log-probs that its sampling did not have."""

    class Attention(nn.Module):
        attention_dropout = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.attention_dropout, self.scaling, self.inner = 0.1, 0.5, nn.Dropout(0.3)

    module = Attention()
    student.disable_dropout(module)
    assert (module.attention_dropout, module.scaling, module.inner.p) == (0.0, 0.5, 0.0)


def perturbed(source, method):
    """A student to train, with other weights than at the start."""
    model = student.trainable(source, TrainingSettings(method=method, lora_rank=2), 0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights += 0.05
    return model.eval()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_saved_student_loads_with_plain_libraries(tmp_path, student_source, method):
    """Prevents a student that only this project can load, or weights that are lost on the way."""
    model = perturbed(student_source, method)
    student.save(model, student.tokenizer_of(student_source), tmp_path)
    ids = torch.tensor([[1, 5, 9, 12]])
    expected = model(input_ids=ids).logits
    if method == "full":
        plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    else:
        plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(student_source.model), tmp_path)
    for loaded in (plain, student.load(tmp_path, student_source)):
        assert torch.allclose(loaded(input_ids=ids).logits, expected, atol=1e-6)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
    before = student.model_of(student_source)(input_ids=ids).logits
    assert (before - expected).abs().max() > 0.01
