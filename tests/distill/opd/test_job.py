"""On-policy distillation as a job: models and prompts in folders and files; a run that resumes."""

from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from cyclealign.distill.opd import train
from cyclealign.distill.registry import JOBS
from cyclealign.policy.attestation import Probe
from cyclealign.policy.probe_logprobs import probe_logprobs

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(models, prompt_files):
    """Two arms on 16 prompts."""
    return {
        "data": {"prompts": str(prompt_files[0])},
        "teacher": {"model": str(models / "teacher")},
        "student": {"model": str(models / "student")},
        "sampling": {"max_new_tokens": 8},
        "training": {"steps": 3, "prompts_per_step": 4, "lora_rank": 2, "learning_rate": 1e-2, "on_policy": 0.5},
        "evaluation": {"prompts": str(prompt_files[1])},
    }


def test_a_run_measures_all_arms_and_resumes(distil, settings, monkeypatch):
    """Prevents an interruption from costing a trained student, and a report without its control arm."""
    trained = []
    fit = train.fit

    def interrupted_once(student, task, *arguments):
        trained.append(task.arm)
        if trained == ["opd", "sft"]:
            raise KeyboardInterrupt
        return fit(student, task, *arguments)

    monkeypatch.setattr(train, "fit", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        distil("opd", settings)
    row = distil("opd", settings)
    assert trained == ["opd", "sft", "sft"]
    by_name = {(each["arm"], each["name"]): each for each in row["measures"]}
    for arm in ("teacher", "student before", "opd", "sft"):
        assert by_name[arm, "exact match"]["items"] == 8
    assert by_name["opd", "reverse KL"]["value"] > 0
    assert {"gap closed, reverse KL", "gap closed, forward KL"} <= {name for arm, name in by_name if arm == "sft"}
    assert by_name["opd - sft", "forward KL"]["low"] <= by_name["opd - sft", "forward KL"]["value"]
    assert {each["step"] for each in row["steps"]} == {"data", "models", "label", "fit opd", "fit sft", "examine"}
    base = AutoModelForCausalLM.from_pretrained(settings["student"]["model"])
    student = PeftModel.from_pretrained(base, row["student_path"])
    probe = Probe.load(Path(row["student_path"]))
    assert probe.own == pytest.approx(probe_logprobs(student, probe.rows), abs=1e-5)
    assert max(abs(own - before) for own, before in zip(probe.own, probe.base, strict=True)) > 1e-4
    assert not list(Path(row["student_path"]).parent.glob("*-steps"))
    assert distil("opd", settings)["id"] == row["id"]
    # The control arm does not depend on the divergence.
    distil("opd", {**settings, "training": {**settings["training"], "beta": 0.5}})
    assert trained == ["opd", "sft", "sft", "opd"]


def test_given_answers_and_full_weights(distil, settings, tmp_path):
    """Prevents answers of the data that are read and not trained on."""
    changes = {"data": {**settings["data"], "answers": "given"}, "arms": ["sft"]}
    row = distil("opd", {**settings, **changes, "training": {**settings["training"], "method": "full", "steps": 30}})
    by_name = {(each["arm"], each["name"]): each["value"] for each in row["measures"]}
    assert {arm for arm, _ in by_name} == {"teacher", "student before", "sft", "sft - student before"}
    AutoModelForCausalLM.from_pretrained(row["student_path"])
    assert {each["step"] for each in row["steps"]} == {"data", "models", "label", "fit sft", "examine"}


def test_the_form_starts_from_the_demo():
    """Prevents a form whose defaults do not run on any machine."""
    config = JOBS["opd"].config()
    assert {config.data.prompts, config.evaluation.prompts, config.teacher.model, config.student.model} == {"demo"}
