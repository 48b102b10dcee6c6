"""Training on the student's own answers: gradients, the mix of answers, and a training that goes on."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from cyclealign.distill.opd import student
from cyclealign.distill.opd.config import TrainingSettings
from cyclealign.distill.opd.predict import Row
from cyclealign.distill.opd.train import make_trainer
from tests.distill.opd.killed import PROMPTS, SETTINGS, task_of, train
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def silent(done, of):
    """Progress that is not shown."""


def trainer_of(models, folder, arm="opd", teacher=None, **settings):
    """A trainer that has not begun, in evaluation of its first step."""
    chosen = TrainingSettings(**{**SETTINGS, **settings})
    model = student.trainable(student.Source("student.model", str(models / "student")), chosen, 0)
    task = task_of(models, arm)
    if teacher is not None:
        task = type(task)(task.arm, task.prompts, task.given, teacher(model), task.generation)
    return make_trainer(model, task, chosen, 5, folder)


def gradients(trainer):
    """The loss and the gradient of one step on the first four prompts."""
    loss = trainer.training_step(trainer.model, {"numbers": torch.tensor([0, 1, 2, 3])})
    return loss.item(), [weights.grad for weights in trainer.model.parameters() if weights.requires_grad]


def same_weights(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(own, its) for (name, own), (other, its) in pairs)


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(models, tmp_path):
    """Prevents answers that are sampled anew, prompts that are left out, and a fresh optimizer in the middle."""
    command = [sys.executable, "-m", "tests.distill.opd.killed", str(models), str(tmp_path / "killed"), "5"]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=500)
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-3000:]
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["checkpoint-4"]
    steps = []
    resumed, losses = train(models, tmp_path / "killed", lambda done, of: steps.append(done))
    undisturbed, others = train(models, tmp_path / "whole", silent)
    assert steps == [5, 6, 7]
    assert losses == others
    assert len(losses) == 7
    assert same_weights(resumed, undisturbed)


@pytest.mark.parametrize(("arm", "last"), [("opd", 3), ("sft", 6)])
def test_an_interrupted_adapter_goes_on_to_the_same_weights(models, tmp_path, arm, last):
    """Prevents an adapter that starts again from zero, or under the weights of its checkpoint twice."""

    def stop(done, of):
        if done == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(models, tmp_path / "cut", stop, arm, method="lora")
    resumed, losses = train(models, tmp_path / "cut", silent, arm, method="lora")
    undisturbed, others = train(models, tmp_path / "whole", silent, arm, method="lora")
    assert losses == others
    assert same_weights(resumed, undisturbed)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_student_that_is_its_own_teacher_learns_nothing(models, tmp_path, method):
    """Prevents a difference between both passes, such as dropout or a shift, that would count as a difference."""
    source = student.Source("student.model", str(models / "student"))
    trainer = trainer_of(models, tmp_path, teacher=lambda _: student.model_of(source), method=method, on_policy=1.0)
    loss, grads = gradients(trainer)
    assert abs(loss) <= 1e-7
    assert max(grad.abs().max().item() for grad in grads) <= 1e-7


def test_passes_have_the_gradient_of_the_whole_step(models, tmp_path):
    """Prevents a mean over passes, in which a token counts by the length of its neighbours."""
    whole = gradients(trainer_of(models, tmp_path, tokens_at_once=1000))
    parts = gradients(trainer_of(models, tmp_path, tokens_at_once=1))
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    for one, other in zip(whole[1], parts[1], strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    checkpointed = gradients(trainer_of(models, tmp_path, tokens_at_once=1000, gradient_checkpointing=True))
    assert checkpointed[0] == pytest.approx(whole[0], rel=1e-5)


def test_the_share_of_on_policy_steps_is_the_setting(models, tmp_path):
    """Prevents a share that is ignored, or that changes when a training goes on."""
    trainer = trainer_of(models, tmp_path, on_policy=0.3)
    given = trainer.task.given

    def own(share, steps=40):
        trainer.settings = trainer.settings.model_copy(update={"on_policy": share})
        found = []
        for step in range(steps):
            trainer.state.global_step = step
            found.append(trainer.rows([0, 1]) != given[:2])
        return found

    assert 4 <= sum(own(0.3)) <= 20
    assert own(0.3) == own(0.3)
    assert not any(own(0.0, 5))
    assert all(own(1.0, 5))
    rows = trainer.rows([2])
    assert rows[0].prompt == PROMPTS[2]
    assert trainer.rows([2]) == rows
    trainer.seed += 1
    assert trainer.rows([2]) != rows


def test_fine_tuning_takes_the_given_answers_and_no_teacher(models, tmp_path):
    """Prevents a control arm that sees the teacher or the student's own answers."""
    trainer = trainer_of(models, tmp_path, "sft")
    assert trainer.task.teacher is None
    rows = trainer.rows([0, 1])
    assert rows == [Row(PROMPTS[0], trainer.task.given[0].answer), Row(PROMPTS[1], trainer.task.given[1].answer)]
    loss, grads = gradients(trainer)
    assert loss > 0
    assert max(grad.abs().max().item() for grad in grads) > 0
