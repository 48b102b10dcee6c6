"""QLoRA: an adapter of a base model in 4 bits, attested on the unquantised one; refused early where it cannot run."""

from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from cyclealign.config import TrainingSettings
from cyclealign.errors import BadConfig, TrainingFailed
from cyclealign.loop.preflight import training as preflight
from cyclealign.policy.attestation import Probe, attest
from cyclealign.records import Adapter
from cyclealign.training import worker
from cyclealign.training.model import lora_model
from cyclealign.training.quantised import adapter_in_float32, quantised_base
from cyclealign.training.trainers import make_trainer
from cyclealign.training.worker import fit
from tests.support.training_jobs import mean_logprobs, no_progress, training_job

pytestmark = pytest.mark.slow

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install -e '.[qlora]'"
)


@pytest.fixture(autouse=True)
def _weights_as_on_a_gpu(monkeypatch):
    """Keep bitsandbytes from packing weights for inference, as it does on some CPUs, for good: training ends there."""
    if find_spec("bitsandbytes") is not None:
        monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


def quantised_layers(model):
    return [name for name, weight in model.named_parameters() if type(weight).__name__ == "Params4bit"]


def test_full_fine_tuning_of_a_quantised_model_is_refused():
    """Prevents a round that is paid for and then cannot be trained."""
    with pytest.raises(ValidationError, match=r"training\.quantise is for adapters"):
        TrainingSettings(method="full", quantise="nf4")


@pytest.mark.parametrize("settings", [{"quantise": "nf4"}, {"optim": "adamw_8bit"}])
def test_a_missing_gpu_or_package_is_found_before_anything_is_paid_for(monkeypatch, settings):
    """Prevents a judged round that ends in a library's traceback."""
    (value,) = settings.values()
    monkeypatch.setattr(preflight, "device", lambda: "cpu")
    with pytest.raises(BadConfig, match=f'"{value}" needs a GPU'):
        preflight.check_training(TrainingSettings(**settings))
    monkeypatch.setattr(preflight, "device", lambda: "cuda")
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(BadConfig, match=r"needs the package bitsandbytes.*\[qlora\]"):
        preflight.check_training(TrainingSettings(**settings))
    preflight.check_training(TrainingSettings())
    monkeypatch.setattr(preflight, "find_spec", lambda name: object())
    preflight.check_training(TrainingSettings(**settings))


def test_sharded_processes_are_refused(monkeypatch, folder, prompt_ids):
    """Prevents a crash deep in a library once the judged lists are there."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(TrainingFailed, match=r"FSDP.*training\.accelerate_config"):
        quantised_base(training_job(folder, prompt_ids, quantise="nf4"))


def test_the_adapter_keeps_its_precision():
    """Prevents steps that are rounded away, and a parent's adapter that is rounded at the start of each round."""
    adapter = nn.Linear(8, 8)
    before = adapter.weight.detach().clone()
    with adapter_in_float32(adapter):
        adapter.weight.data = adapter.weight.data.to(torch.bfloat16)
    assert adapter.weight.dtype == torch.float32
    assert torch.equal(adapter.weight, before)


def test_a_base_that_fits_only_in_4_bits_is_probed_on_the_cpu(folder, prompt_ids, monkeypatch, tmp_path):
    """Prevents a training that ends without its probe, after all of its steps, for want of a GPU's memory."""
    devices = []

    def probe(*given):
        devices.append(given[-1])
        if given[-1] == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return Probe((), (), (), ())

    monkeypatch.setattr(worker, "device", lambda allow_mps: "cuda")
    monkeypatch.setattr(worker, "probe_from_folders", probe)
    job = training_job(folder, prompt_ids, quantise="nf4")
    worker.probe_saved_weights(job, tmp_path, worker.Fitted(0.0, (), None, sharded=False))
    assert devices == ["cuda", "cpu"]


@needs_bitsandbytes
@pytest.mark.slow
def test_the_base_is_quantised_and_the_adapter_is_not(folder, prompt_ids, tmp_path):
    """Prevents a base in full size, an adapter on other layers, and an output head in 4 bits."""
    plain = lora_model(training_job(folder, prompt_ids))
    job = training_job(folder, prompt_ids, quantise="nf4")
    model = lora_model(job)
    assert len(quantised_layers(model)) == 2 * 7
    assert not any("lm_head" in name or "lora" in name for name in quantised_layers(model))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {name for name, weight in plain.named_parameters() if weight.requires_grad}
    with adapter_in_float32(model):
        make_trainer(job, tmp_path, model)
    assert {weight.dtype for name, weight in model.named_parameters() if name in trained} == {torch.float32}


@needs_bitsandbytes
@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"objective": "dpo"}, {"bf16": True, "gradient_checkpointing": True}])
def test_its_adapters_are_attested_on_the_unquantised_base(folder, policy, prompt_ids, tmp_path, settings):
    """Prevents a probe of the quantised model: the policy, which serves the unquantised one, would refuse it."""
    folders = [tmp_path / name for name in ("first", "second")]
    for parent, saved in pairwise([None, *folders]):
        saved.mkdir()
        job = training_job(folder, prompt_ids, parent=parent, quantise="nf4", **{"epochs": 4, **settings})
        fit(job, saved, no_progress)
    probe = Probe.load(folders[1])
    for expected, other, saved in (
        (probe.own, probe.parent, folders[1]),
        (probe.parent, probe.base, folders[0]),
        (probe.base, probe.own, None),
    ):
        policy.use(Adapter(str(saved), str(saved), "", None) if saved else None)
        measured = [logprob for row in policy.token_logprobs(probe.rows) for logprob in row]
        policy.use(None)
        attest(measured, expected, other, 1e-3, "the adapter")


@needs_bitsandbytes
@pytest.mark.slow
def test_it_learns_the_order_as_unquantised_training_does(folder, policy, prompt_ids, tmp_path):
    """Prevents an adapter that is trained on the errors of quantisation and teaches the served model nothing."""
    gains = []
    for quantise in (None, "nf4"):
        saved = tmp_path / str(quantise)
        saved.mkdir()
        fit(training_job(folder, prompt_ids, quantise=quantise), saved, no_progress)
        before, after = mean_logprobs(policy, None), mean_logprobs(policy, saved)
        gains.append((after[0] - after[-1]) - (before[0] - before[-1]))
    assert gains[1] == pytest.approx(gains[0], rel=0.2)
    assert gains[0] > 0.1
