"""Rounds that train all weights: each starts from the model folder of the one before."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cyclealign.policy import weights
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store


@pytest.fixture
def whole(bench):
    bench.set("training", method="full", learning_rate=1e-3)
    bench.set("acceptance", min_win_rate=0.0)
    return bench


def folder_of(number: int) -> Path:
    with Store.open() as store:
        return Path(store.history.detail("bench", number)["adapter"]["path"])


def test_two_rounds_go_on_from_whole_weights(whole, tiny_model, monkeypatch):
    """Prevents a second round that starts from the base model, and weights that are loaded more often than need be."""
    load, loaded = TransformersPolicy._load_weights, []

    def noted(self, folder):
        loaded.append(folder and Path(folder).name[: len("round-1")])
        load(self, folder)

    monkeypatch.setattr(TransformersPolicy, "_load_weights", noted)
    code, output = whole.run(rounds=2)
    assert code == 0, output
    folders = [tiny_model, folder_of(1), folder_of(2)]
    assert loaded == [None, "round-1", None, "round-1", "round-2", None]  # None: the base model
    stages = [load_file(folder / "model.safetensors") for folder in folders]
    moved = [[stages[i + 1][name] - stages[i][name] for name in stages[0]] for i in (0, 1)]
    assert all(step.abs().max() > 0 for steps in moved for step in steps)
    straight = [stages[2][name] - stages[0][name] for name in stages[0]]
    # Adam moves each weight by about the learning rate a step: the second round's end is farther from the base.
    assert sum(map(torch.norm, straight)) > 1.1 * sum(map(torch.norm, moved[1]))


def test_an_experiment_keeps_to_its_method_and_its_weights(whole):
    """Prevents an adapter on the base model that forgets the whole weights, and damaged ones that answer."""
    assert whole.run()[0] == 0
    whole.set("training", method="lora")
    assert "began with training.method = 'full', and it is now 'lora'" in whole.run()[1]
    whole.set("training", method="full")
    parts = weights.files(folder_of(1))
    parts[-1].write_bytes(parts[-1].read_bytes()[:-4] + b"0000")
    recorded = whole.query("SELECT content_hash FROM adapter ORDER BY round_id")[0][0]
    assert not weights.holds(folder_of(1), recorded)
    code, output = whole.run()
    assert code == 0, output
    assert "trained again from the stored round" in output
    assert weights.holds(folder_of(1), recorded)


def test_a_server_that_is_not_ours_cannot_be_put_on_whole_weights(whole):
    """Prevents a round that is paid for until its new weights turn out to be nowhere."""
    whole.set("policy", kind="vllm")
    whole.set("engine", base_url="http://127.0.0.1:9/v1")
    code, output = whole.run()
    assert code == 1
    assert "training.method = 'full' needs a managed vLLM server" in output
    assert not whole.judge.answered
    assert whole.rounds() == []
