"""Settings of the adapter reach the trained and the stored adapter."""

import json

import pytest
import torch
from safetensors import safe_open

from cyclealign.training.model import lora_model
from cyclealign.training.worker import fit
from tests.support.training_jobs import mean_logprobs, no_progress, training_job

pytestmark = pytest.mark.slow


def names(folder):
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return list(file.keys())


def test_rank_stabilised_adapters_are_served_at_their_scale(folder, policy, prompt_ids, tmp_path):
    """Prevents an adapter that is trained at one scale and applied at another."""
    fit(training_job(folder, prompt_ids, use_rslora=True, lora_rank=4, epochs=2), tmp_path, no_progress)
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (stored["r"], stored["use_rslora"]) == (4, True)
    assert mean_logprobs(policy, tmp_path) != pytest.approx(mean_logprobs(policy, None), abs=1e-2)


def test_the_dropout_may_change_between_rounds(folder, prompt_ids, tmp_path):
    """Prevents the parent's dropout from replacing the setting: it is no part of the weights."""
    fit(training_job(folder, prompt_ids, epochs=1), tmp_path, no_progress)
    model = lora_model(training_job(folder, prompt_ids, parent=tmp_path, lora_dropout=0.25))
    assert {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.25}


def test_a_round_keeps_the_layers_of_its_parent(folder, prompt_ids, tmp_path):
    """Prevents a second round that adapts other layers than the first and leaves the first one's as they were."""
    first, second = tmp_path / "first", tmp_path / "second"
    for parent, saved in ((None, first), (first, second)):
        saved.mkdir()
        targets = ("q_proj", "layers.1.mlp.up_proj") if parent is None else ()
        fit(training_job(folder, prompt_ids, parent=parent, lora_targets=targets, epochs=1), saved, no_progress)
    assert sorted(names(second)) == sorted(names(first))
    assert len(names(first)) == 2 * (2 + 1)


@pytest.mark.parametrize("module", ["embed_tokens", "norm", "lm_head"])
def test_whole_modules_are_trained_and_loaded_again(folder, policy, prompt_ids, tmp_path, module):
    """Prevents modules that are named, and neither saved nor loaded; without the setting only LoRA's own are saved."""
    plain, whole, next_round = (tmp_path / name for name in ("plain", "whole", "next"))
    for saved in (plain, whole, next_round):
        saved.mkdir()
    fit(training_job(folder, prompt_ids, epochs=1), plain, no_progress)
    assert all("lora_" in name for name in names(plain))
    settings = {"modules_to_save": (module,), "epochs": 2}
    fit(training_job(folder, prompt_ids, **settings), whole, no_progress)
    assert any(module in name and "lora_" not in name for name in names(whole))
    fit(training_job(folder, prompt_ids, parent=whole, **{**settings, "learning_rate": 1e-9}), next_round, no_progress)
    assert mean_logprobs(policy, next_round) == pytest.approx(mean_logprobs(policy, whole), abs=1e-4)
    assert mean_logprobs(policy, whole) != pytest.approx(mean_logprobs(policy, plain), abs=1e-3)
