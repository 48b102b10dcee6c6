"""Adapters that cannot be trained or served as the settings say: refused before a round is opened or paid for."""

import pytest

from cyclealign.store import Store


def opened() -> int:
    with Store.open() as store:
        return len(store.experiments.rounds("bench"))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"lora_targets": ["q_prj"]}, "the model has no layer 'q_prj'"),
        ({"lora_targets": "lm_head"}, "'lm_head' is the output head"),
        ({"modules_to_save": ["q_prj"]}, "the model has no module 'q_prj'"),
    ],
)
def test_a_layer_that_the_model_lacks_costs_no_call(bench, training, message):
    """Prevents a round that is paid for until its training fails."""
    bench.set("training", **training)
    code, output = bench.run()
    assert code == 1
    assert message in output
    assert not bench.judge.answered
    assert opened() == 0


def test_vllm_gets_no_adapter_that_it_cannot_serve(bench):
    """Prevents a round that is trained in full and refused by the engine."""
    bench.set("policy", kind="vllm")
    bench.set("training", modules_to_save=["embed_tokens"])
    code, output = bench.run()
    assert code == 1
    assert "Remove training.modules_to_save" in output
    assert not bench.judge.answered
    assert opened() == 0


def test_rank_and_scale_are_those_of_the_adapter_that_goes_on(bench):
    """Prevents a changed rank from having no effect in silence; set back, the experiment goes on."""
    assert bench.run()[0] == 0
    asked = len(bench.judge.answered)
    bench.set("training", lora_rank=8, lora_alpha=16.0)
    code, output = bench.run()
    assert code == 1
    assert "training.lora_rank is 8, and the adapter has 16; training.lora_alpha is 16.0" in " ".join(output.split())
    assert len(bench.judge.answered) == asked
    assert opened() == 1
    bench.set("training", lora_rank=16, lora_alpha=32.0)
    assert bench.run()[0] == 0
