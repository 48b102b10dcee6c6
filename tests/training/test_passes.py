"""Steps in passes of bounded size: the gradient does not depend on the cut, and no pass exceeds the bound."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
import trl.trainer.utils

from cyclealign.config import TrainingSettings
from cyclealign.errors import TrainingFailed
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.model import lora_model
from cyclealign.training.objectives import OBJECTIVES
from cyclealign.training.passes import ModelInPasses, RowTokens, share_passes
from cyclealign.training.shared_prompt import PromptRows
from cyclealign.training.trainers import make_trainer
from tests.support.float64_head import Float64Head, use_float64
from tests.support.paths import ROOT
from tests.support.tiny import make_model
from tests.support.uneven_lists import LISTS, with_parent

pytestmark = pytest.mark.slow

LONGEST = max(len(ranked.prompt_ids) + len(ids) for ranked in LISTS for ids in ranked.answers)
# One answer a pass; lists scored in parts; some lists share a pass, others are scored in parts; lists share passes.
CUTS = (LONGEST, 2 * LONGEST + 1, 60, 100)


@pytest.fixture(scope="module")
def stored(folder):
    return with_parent(LISTS, folder)


@pytest.fixture
def made(folder, stored, tmp_path, monkeypatch):
    """A trainer in float64 on the uneven lists, with the parent's log-probs as stored at generation."""
    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Float64Head)  # restored after the test

    def make(lists=stored, **settings):
        defaults = {"process": "same", "lora_rank": 4, "prompts_per_step": 8, "shared_prompt": "off"}
        chosen = TrainingSettings(**{**defaults, **settings})
        job = TrainingJob(folder, None, None, chosen, tuple(lists), seed=3)
        torch.manual_seed(1)
        trainer = make_trainer(job, tmp_path, lora_model(job))
        use_float64(trainer.model)
        trainer.current_gradient_accumulation_steps = 1  # set by `train`
        return trainer

    return make


def step(trainer):
    """Take one step's gradient; return its loss, the gradients and the tokens of each forward pass."""
    tokens = []
    backbone = trainer.model.get_base_model().model
    backbone.register_forward_pre_hook(
        lambda _, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    loss = trainer.training_step(trainer.model, next(iter(trainer.get_train_dataloader())))
    gradients = {
        name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None
    }
    return loss.item(), gradients, tokens


def check_equal(gradients, others):
    assert gradients.keys() == others.keys()
    assert max(gradient.abs().max().item() for gradient in gradients.values()) > 1e-3
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, others[name], rtol=1e-9, atol=1e-9), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_of_a_step_does_not_depend_on_the_cut(made, objective):
    """Prevents less memory from being another optimisation: means of means, parts of a list ranked on their own.

    The KL term has a gradient here, since the adapter's weights are not those of the parent.
    """
    loss, whole, passes = step(made(objective=objective, kl_weight=2.0))
    assert len(passes) == (2 if OBJECTIVES[objective].trainer == "pairwise" else 1)
    for max_tokens in CUTS:
        other_loss, gradients, tokens = step(made(objective=objective, tokens_at_once=max_tokens, kl_weight=2.0))
        assert other_loss == pytest.approx(loss, rel=1e-9)
        check_equal(whole, gradients)
        assert len(tokens) > len(passes)
        assert max(tokens) <= max_tokens


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_padding_rows_count_for_nothing_however_they_are_cut(made, objective):
    """Prevents a process with fewer rows from adding the loss of its padding row."""
    rows = made(objective=objective).train_dataset
    batches = []
    for max_tokens in (None, LONGEST):
        trainer = made(objective=objective, tokens_at_once=max_tokens)
        batch = trainer.data_collator([rows[0], rows[1], rows[len(rows) - 1]])
        trainer.get_train_dataloader = lambda batch=batch: [batch]
        batches.append(step(trainer)[1])
    check_equal(*batches)


def test_a_step_that_fits_is_the_step_of_the_library(made):
    """Prevents the results of small runs from changing: the gradients are equal to the bit."""
    _, gradients, tokens = step(made(tokens_at_once=10_000))
    trainer = made()
    trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader()))).backward()
    assert len(tokens) == 1
    assert all(
        torch.equal(weight.grad, gradients[name])
        for name, weight in trainer.model.named_parameters()
        if weight.grad is not None
    )


def test_an_answer_that_exceeds_the_bound_is_refused(made):
    """Prevents a bound that is exceeded in silence, and ends in a lack of memory."""
    with pytest.raises(TrainingFailed, match=f"Set it to {LONGEST} or more"):
        made(tokens_at_once=LONGEST - 1)
    long = RankedAnswers(tuple(range(3, 13)), (tuple([8] * 100), (9,)), 1.0)
    assert made(lists=[long]).tokens_at_once > 110


def test_units_share_passes_up_to_the_bound():
    """Prevents passes beyond the bound, padding of short rows to long ones, and rows that are lost."""
    assert shared([[5, 4], [2, 2], [5], [1, 1]], 15) == [[0, 2], [1, 3]]
    assert shared([[9, 9], [2]], 10) == [[0], [1]]
    lengths = [[3 + n % 7, 2] for n in range(40)]
    passes = shared(lengths, 30)
    assert sorted(unit for units in passes for unit in units) == list(range(40))
    widths = [max(max(lengths[unit]) for unit in units) for units in passes]
    assert max(2 * len(units) * width for units, width in zip(passes, widths, strict=True)) <= 30


def shared(lengths, max_tokens):
    """The passes of units whose rows have these lengths."""
    rows = [[0] * length for unit in lengths for length in unit]
    numbers = iter(range(len(rows)))
    units = [[next(numbers) for _ in unit] for unit in lengths]
    return share_passes(units, RowTokens(PromptRows.of(rows, [0] * len(rows))), max_tokens)


def test_dropout_is_the_same_in_both_passes_of_a_row(made):
    """Prevents the gradient of one random network at the scores of another."""
    trainer = made(lora_dropout=0.5)
    trainer.model.train()
    batch = trainer.data_collator([trainer.train_dataset[2]])
    outputs = []

    def scored(**inputs):
        outputs.append(trainer.model(**inputs))
        return outputs[-1]

    in_passes = ModelInPasses(scored, LONGEST)
    tokens = {name: batch[name] for name in ("input_ids", "labels", "attention_mask")}
    in_passes(**tokens, fused_lm_head=True).log_probs.sum().backward()
    state = torch.get_rng_state()
    in_passes.backward(torch.Tensor.backward, scored)
    first, second = outputs[: len(outputs) // 2], outputs[len(outputs) // 2 :]
    assert len(first) > 1
    assert all(torch.equal(one.log_probs, other.log_probs) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(scored(**tokens, fused_lm_head=True).log_probs[0], first[0].log_probs[0])


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_however_it_is_cut(tmp_path):
    """Prevents processes that wait for each other because one has more passes, and passes that are not averaged."""
    model = str(make_model(tmp_path / "model"))
    arguments, expected, cuts = [], {}, []
    # At 60 some processes cut some steps, while others do not.
    lists = with_parent(LISTS, model)
    for objective, max_tokens in itertools.product(("lipo", "dpo"), (None, LONGEST, 60)):
        at = tmp_path / f"{objective}-{max_tokens}"
        at.mkdir()
        chosen = {"objective": objective, "tokens_at_once": max_tokens, "kl_weight": 1.0}
        settings = TrainingSettings(**chosen, lora_rank=4, learning_rate=1e-12, prompts_per_step=4)
        TrainingJob(model, None, None, settings, lists, seed=3).save(at / "job.json")
        arguments += [str(at), "1" if max_tokens is None else "2"]
        if max_tokens is None:
            expected[objective] = at
        else:
            cuts.append((objective, at))
    command = [sys.executable, "-m", "tests.support.step_gradients", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for objective, at in cuts:
        alone, shared = (torch.load(folder / "gradients.pt") for folder in (expected[objective], at))
        assert len(alone) == len(shared) > 1
        for gradients, others in zip(alone, shared, strict=True):
            check_equal(gradients, others)
