"""Prompts computed once in the real trainers: each step has the gradient of repeated prompts, however it is cut."""

import itertools
import logging
import os
import subprocess
import sys

import pytest
import torch
import trl.trainer.utils

from cyclealign.config import TrainingSettings
from cyclealign.training import self_check, shared_prompt
from cyclealign.training.job import TrainingJob
from cyclealign.training.model import load_trainable
from cyclealign.training.objectives import OBJECTIVES
from cyclealign.training.trainers import make_trainer
from tests.support.float64_head import Float64Head, KeepFloat64, use_float64
from tests.support.paths import ROOT
from tests.support.shared_prompts import LISTS
from tests.support.tiny import make_model
from tests.support.uneven_lists import with_parent

pytestmark = pytest.mark.slow

LONGEST = max(len(ranked.prompt_ids) + len(ids) for ranked in LISTS for ids in ranked.answers)
VOCABULARY = 31  # of the tiny model


def in_vocabulary(ranked):
    ids = [tuple(3 + token % (VOCABULARY - 3) for token in answer) for answer in ranked.answers]
    return type(ranked)(ranked.prompt_ids, tuple(ids), ranked.weight, ranked.pairs, ranked.thought_lengths)


@pytest.fixture(scope="module")
def lists(folder):
    return with_parent(map(in_vocabulary, LISTS), folder)


@pytest.fixture
def made(folder, lists, tmp_path, monkeypatch):
    """A trainer in float64 on lists of several prompts, some of them equal."""
    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Float64Head)  # restored after the test

    def make(**settings):
        defaults = {"process": "same", "lora_rank": 4, "prompts_per_step": 8}
        chosen = TrainingSettings(**{**defaults, **settings})
        job = TrainingJob(folder, None, None, chosen, lists, seed=3)
        torch.manual_seed(1)
        trainer = make_trainer(job, tmp_path, load_trainable(job)[0])
        use_float64(trainer.model)
        if getattr(trainer, "ref_model", None) is not None:
            use_float64(trainer.ref_model)
        trainer.current_gradient_accumulation_steps = 1  # set by `train`
        return trainer

    return make


@pytest.fixture
def no_float32():
    with KeepFloat64():
        yield


def step(trainer):
    """Take one step; return its loss, the gradients and the tokens of each forward pass of the step itself."""
    tokens = []
    batch = next(iter(trainer.get_train_dataloader()))
    if trainer.share_prompts:
        trainer._choose_form(batch)
        trainer.share_prompts = False
    trainer.model.get_input_embeddings().register_forward_pre_hook(lambda _, args: tokens.append(args[0].numel()))
    loss = trainer.training_step(trainer.model, batch)
    gradients = {
        name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None
    }
    return loss.item(), gradients, tokens


def check_equal(gradients, others):
    assert gradients.keys() == others.keys()
    assert max(gradient.abs().max().item() for gradient in gradients.values()) > 1e-3
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, others[name], rtol=1e-9, atol=1e-9), name


@pytest.mark.usefixtures("no_float32")
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_has_the_gradient_of_repeated_prompts(made, objective, method):
    """Prevents another optimisation in the name of speed, and a bound on memory that shared prompts exceed."""
    loss, repeated, tokens = step(made(objective=objective, method=method, shared_prompt="off"))
    for max_tokens in (None, LONGEST, 2 * LONGEST + 1, 60):
        trainer = made(objective=objective, method=method, tokens_at_once=max_tokens)
        other_loss, gradients, shared_tokens = step(trainer)
        assert trainer.scoring.form == "cached"
        assert other_loss == pytest.approx(loss, rel=1e-9)
        check_equal(repeated, gradients)
        if max_tokens is None:
            assert sum(shared_tokens) < 0.8 * sum(tokens)


def test_gradient_checkpointing_takes_packed_rows(made):
    """Prevents a key-value cache that gradient checkpointing drops."""
    gradients = []
    for choice in ("off", "auto"):
        trainer = made(shared_prompt=choice, gradient_checkpointing=True)
        trainer.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        gradients.append(step(trainer)[1])
        assert trainer.scoring.form == ("packed" if choice == "auto" else "repeated")
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("broken", ["cache", "mask"])
def test_a_broken_form_is_not_used(made, monkeypatch, broken, caplog):
    """Prevents answers that see each other, or miss their prompt, from being trained on in silence."""
    if broken == "cache":
        monkeypatch.setattr(shared_prompt, "expanded", lambda cache, prompts: shift(cache, prompts))
    monkeypatch.setattr(shared_prompt, "packed_mask", causal)
    caplog.set_level(logging.INFO, "cyclealign")
    trainer = made()
    if broken == "mask":
        trainer.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    step(trainer)
    assert trainer.scoring.form == "repeated"
    assert "packed: log-probs differ by" in caplog.text
    assert ("cached: log-probs differ by" in caplog.text) == (broken == "cache")


def shift(cache, prompts):
    """Test double of `expanded`: each answer reads the prompt without its first value."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[prompts], layer.values[prompts].roll(1, dims=-2)
    return cache


def causal(number, position, window=None):
    """Test double of `packed_mask` that forgets that answers do not see each other."""
    size = number.shape[-1]
    return torch.ones(size, size, dtype=torch.bool).tril().expand(len(number), 1, size, size)


def test_an_answer_too_long_to_share_its_prompt(made, caplog):
    """Prevents a check that takes more memory than a pass may."""
    caplog.set_level(logging.INFO, "cyclealign")
    trainer = made()
    trainer.tokens_at_once = 13
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer._choose_form(batch)
    assert trainer.scoring.form == "repeated"
    assert "exceed training.tokens_at_once" in caplog.text


def test_a_model_that_cannot_share_goes_on(made, monkeypatch, caplog):
    """Prevents a training that fails because of an optimisation."""
    monkeypatch.setattr(self_check, "is_multimodal", lambda config: True)
    caplog.set_level(logging.INFO, "cyclealign")
    trainer = made()
    step(trainer)
    assert trainer.scoring.form == "repeated"
    assert "Each answer is computed with its prompt: the model is multimodal" in caplog.text


def test_the_check_leaves_no_trace(made):
    """Prevents weights that depend on the check: its gradients, its random numbers, dropout left off."""
    trainer = made(lora_dropout=0.5)
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    state = torch.get_rng_state()
    trainer._choose_form(batch)
    assert trainer.scoring.form == "cached"
    assert all(weight.grad is None for weight in trainer.model.parameters())
    assert all(module.training for module in trainer.model.modules())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path):
    """Prevents processes that average twice or wait for each other because they share prompts differently."""
    model = str(make_model(tmp_path / "model"))
    arguments, folders = [], {}
    for objective, choice in itertools.product(("rrhf", "dpo"), ("off", "auto", "cut")):
        at = folders[objective, choice] = tmp_path / f"{objective}-{choice}"
        at.mkdir()
        settings = TrainingSettings(
            objective=objective,
            lora_rank=4,
            learning_rate=1e-12,
            prompts_per_step=3,
            shared_prompt="off" if choice == "off" else "auto",
            tokens_at_once=2 * LONGEST + 1 if choice == "cut" else None,
        )
        TrainingJob(model, None, None, settings, tuple(map(in_vocabulary, LISTS)), seed=3).save(at / "job.json")
        arguments += [str(at), "1" if choice == "off" else "2"]
    command = [sys.executable, "-m", "tests.support.step_gradients", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for objective, choice in itertools.product(("rrhf", "dpo"), ("auto", "cut")):
        alone, shared = (torch.load(folders[objective, kind] / "gradients.pt") for kind in ("off", choice))
        assert len(alone) == len(shared) > 1
        for gradients, others in zip(alone, shared, strict=True):
            check_equal(gradients, others)
