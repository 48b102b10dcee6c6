"""The settings that are passed on to the trainers."""

import pytest
import torch
from pydantic import ValidationError
from trl import DPOConfig, SFTConfig

from cyclealign.config import TrainingSettings
from cyclealign.errors import TrainingFailed
from cyclealign.training import arguments
from cyclealign.training.arguments import common_arguments
from cyclealign.training.model import lora_model
from cyclealign.training.trainers import make_trainer
from tests.support.training_jobs import training_job

PASSED_ON = {
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.25,
    "weight_decay": 0.125,
    "max_grad_norm": 0.5,
    "optim": "sgd",
    "gradient_checkpointing": True,
    "bf16": True,
    "max_steps": 3,
}


@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_settings_reach_the_trainer_under_their_names(folder, prompt_ids, tmp_path, objective):
    """Prevents a setting that is read, validated and then left to the trainer's own default."""
    job = training_job(folder, prompt_ids, objective=objective, **PASSED_ON)
    trainer = make_trainer(job, tmp_path, lora_model(job))
    assert {name: getattr(trainer.args, name) for name in PASSED_ON} == PASSED_ON


@pytest.mark.parametrize("config", [SFTConfig, DPOConfig])
def test_the_defaults_are_the_librarys(config, tmp_path):
    """Prevents runs of earlier versions from having another result: these settings were left to the library."""
    given, own = common_arguments(training_job("model", (1,)), tmp_path), config(output_dir=str(tmp_path), use_cpu=True)
    names = ("lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "optim", "fp16", "max_steps")
    assert {name: given[name] for name in names} == {name: getattr(own, name) for name in names}
    assert given["report_to"] == "none"


def test_a_maximum_of_steps_ends_training(folder, prompt_ids, tmp_path):
    """Prevents a maximum that the number of epochs overrules."""
    job = training_job(folder, prompt_ids, epochs=12, max_steps=2)
    trainer = make_trainer(job, tmp_path, lora_model(job))
    trainer.train()
    assert trainer.state.global_step == 2


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    """Prevents a training that ends in a library's traceback, or that reports nowhere in silence."""
    monkeypatch.setattr(arguments, "get_available_reporting_integrations", lambda: ["tensorboard"])
    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    with pytest.raises(TrainingFailed, match="needs the package trackio"):
        common_arguments(training_job("model", (1,), report_to=["tensorboard", "trackio"]), tmp_path)
    with pytest.raises(TrainingFailed, match="needs the package bitsandbytes"):
        common_arguments(training_job("model", (1,), optim="adamw_8bit"), tmp_path)
    assert common_arguments(training_job("model", (1,), report_to=["tensorboard"]), tmp_path)["report_to"] == [
        "tensorboard"
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_float16_without_a_gpu_is_refused(tmp_path):
    """Prevents a training that ends in a library's traceback."""
    with pytest.raises(TrainingFailed, match="fp16 needs a GPU"):
        common_arguments(training_job("model", (1,), fp16=True), tmp_path)


def test_unknown_names_and_two_precisions_are_refused():
    """Prevents a typing error that shows hours later, when training begins."""
    for wrong in ({"optim": "adam"}, {"report_to": ["tensorbord"]}, {"bf16": True, "fp16": True}, {"max_steps": 0}):
        with pytest.raises(ValidationError):
            TrainingSettings(**wrong)
