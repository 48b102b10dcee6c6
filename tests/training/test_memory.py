"""Tokens of a pass: chosen by a probe of the memory, halved when it runs out, and without effect on what is learnt."""

import pytest
import torch
import trl.trainer.utils

from cyclealign.config import TrainingSettings
from cyclealign.training import worker
from cyclealign.training.job import TrainingJob
from cyclealign.training.memory import SHARE, Measurement, fitting_tokens, measured_tokens
from cyclealign.training.model import lora_model
from cyclealign.training.passes import DEFAULT_TOKENS_AT_ONCE
from cyclealign.training.remarks import load_remarks
from cyclealign.training.trainers import make_trainer
from tests.support.float64_head import Float64Head, use_float64
from tests.support.step_gradients import RecordGradients
from tests.support.training_jobs import no_progress, training_job
from tests.support.uneven_lists import LISTS

LONGEST = max(len(ranked.prompt_ids) + len(ids) for ranked in LISTS for ids in ranked.answers)
FIXED, PER_TOKEN = 5_000, 70  # bytes of the fake memory


class FakeMemory:
    """The memory of a device on which a pass takes a fixed part and a part for each of its tokens."""

    def __init__(self, free, max_tokens=10**9):
        self.free, self.max_tokens, self.passes, self._peak = free, max_tokens, [], 0

    def watch(self, trainer):
        """Count the tokens of the passes of a trainer's model, and fail if one is too large."""

        def use(module, args, kwargs):
            self.use(kwargs["input_ids"].numel())

        trainer.model.get_base_model().base_model.register_forward_pre_hook(use, with_kwargs=True)

    def use(self, tokens):
        self.passes.append(tokens)
        if tokens > self.max_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self._peak = max(self._peak, FIXED + PER_TOKEN * tokens)
        return tokens

    def reset(self):
        self._peak = 0

    def peak_bytes(self):
        return self._peak

    def free_bytes(self):
        return self.free


@pytest.fixture
def made(folder, tmp_path, monkeypatch):
    """A trainer in float64 on the uneven lists, whose steps' gradients are recorded."""
    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Float64Head)  # restored after the test

    def make(**settings):
        defaults = {"process": "same", "lora_rank": 4, "prompts_per_step": 4, "shared_prompt": "off"}
        job = TrainingJob(folder, None, None, TrainingSettings(**{**defaults, **settings}), LISTS, seed=3)
        torch.manual_seed(1)
        trainer = make_trainer(job, tmp_path, lora_model(job))
        use_float64(trainer.model)
        recorder = RecordGradients()
        trainer.add_callback(recorder)
        return trainer, recorder

    return make


def trained(trainer, recorder):
    torch.manual_seed(7)
    trainer.train()
    return recorder.steps


def assert_same_gradients(steps, expected):
    assert len(steps) == len(expected) > 1
    for step, of_undisturbed in zip(steps, expected, strict=True):
        for name, gradient in of_undisturbed.items():
            torch.testing.assert_close(step[name], gradient, rtol=1e-9, atol=1e-12)


def test_the_tokens_that_fit_follow_from_two_measurements():
    """Prevents a bound that takes the fixed part for a part of each token, or that exceeds the memory."""
    small, large = Measurement(100, 12_000), Measurement(400, 33_000)  # 70 bytes a token, 5,000 in any case
    assert fitting_tokens(small, large, 75_000) == 1_000
    assert fitting_tokens(small, large, 5_069) == 0
    assert fitting_tokens(small, large, -1) == 0
    assert fitting_tokens(small, Measurement(400, 12_000), 75_000) is None
    # Noise must not make the fixed part negative, which would promise more than the slope allows.
    assert fitting_tokens(Measurement(100, 100), Measurement(200, 900), 8_000) == 1_000


@pytest.mark.parametrize("max_rows", [4, 3, 2])
def test_a_probe_that_runs_out_of_memory_measures_less(max_rows):
    """Prevents a training that dies in the very probe that is to keep it from dying."""
    memory = FakeMemory(free=100_000, max_tokens=max_rows * 50)
    expected = int((SHARE * 100_000 - 1_000 - FIXED) / PER_TOKEN)
    assert measured_tokens(lambda rows: memory.use(rows * 50), memory, reserved_bytes=1_000) == expected


def test_a_probe_of_which_only_one_row_fits_leaves_the_least():
    """Prevents an error where single rows still fit, and a training where not even one does."""
    memory = FakeMemory(free=100_000, max_tokens=60)
    assert measured_tokens(lambda rows: memory.use(rows * 50), memory, 0) == 0
    with pytest.raises(torch.OutOfMemoryError):
        measured_tokens(lambda rows: memory.use(rows * 70), memory, 0)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_the_first_step_measures_the_memory_and_changes_no_gradient(made, objective):
    """Prevents a probe whose gradients or random numbers enter the training, and a bound that is not used."""
    expected = trained(*made(objective=objective))
    trainer, recorder = made(objective=objective)
    trained_bytes = sum(weight.numel() * 8 for weight in trainer.model.parameters() if weight.requires_grad)
    memory = FakeMemory(free=(FIXED + PER_TOKEN * 70 + 2 * trained_bytes) / SHARE + 1)
    memory.watch(trainer)
    trainer.meter = memory
    steps = trained(trainer, recorder)
    assert memory.passes[:3] == [LONGEST, LONGEST, 4 * LONGEST]
    assert max(memory.passes[3:]) <= trainer.tokens_at_once == pytest.approx(70, abs=100)
    assert_same_gradients(steps, expected)
    assert "training.tokens_at_once" in trainer.memory_remark


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_a_step_that_runs_out_of_memory_is_repeated_in_smaller_passes(made, objective):
    """Prevents the loss of hours of training to one long list, and a gradient that counts an attempt twice."""
    expected = trained(*made(objective=objective))
    trainer, recorder = made(objective=objective)
    memory = FakeMemory(free=0, max_tokens=2 * LONGEST)
    memory.watch(trainer)
    assert trainer.tokens_at_once == DEFAULT_TOKENS_AT_ONCE
    steps = trained(trainer, recorder)
    assert max(memory.passes) > 2 * LONGEST
    assert LONGEST <= trainer.tokens_at_once <= 2 * LONGEST
    assert_same_gradients(steps, expected)
    assert "Memory ran out" in trainer.memory_remark


@pytest.mark.slow
def test_the_bound_that_memory_left_is_remarked_in_the_rounds_history(folder, prompt_ids, tmp_path, monkeypatch):
    """Prevents a training that takes twice the time for a reason that nobody learns."""

    def made_with_little_memory(job, where, model):
        trainer = make_trainer(job, where, model)
        FakeMemory(free=0, max_tokens=2 * trainer.longest).watch(trainer)
        return trainer

    monkeypatch.setattr(worker, "make_trainer", made_with_little_memory)
    worker.fit(training_job(folder, prompt_ids, epochs=1, shared_prompt="off"), tmp_path, no_progress)
    assert load_remarks(tmp_path)["tokens at once"].startswith("Memory ran out; passes of at most ")


@pytest.mark.slow
def test_a_row_that_does_not_fit_ends_the_training(made):
    """Prevents an endless loop: an answer with its prompt goes through the model at once."""
    trainer, _ = made()
    memory = FakeMemory(free=0, max_tokens=LONGEST - 1)
    memory.watch(trainer)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train()
    assert trainer.tokens_at_once == LONGEST


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_the_bound_is_a_fixed_figure(made):
    """Prevents a probe of memory that nobody can measure."""
    trainer, _ = made()
    assert trainer.meter is None
    assert trainer.tokens_at_once == DEFAULT_TOKENS_AT_ONCE
