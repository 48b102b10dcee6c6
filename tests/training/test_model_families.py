"""One training step on each family of models, with the adapter loaded by the policy that would serve it."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cyclealign.config import PolicySettings
from cyclealign.policy.adapter_layers import planned_layers, stored_layers
from cyclealign.policy.attestation import Probe
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter
from cyclealign.training.job import RankedAnswers
from cyclealign.training.worker import fit
from tests.support.chat_models import CONTEXT, KINDS, make_chat_model
from tests.support.training_jobs import PROMPT, no_progress, training_job

pytestmark = pytest.mark.slow

FAMILIES = [kind for kind in KINDS if kind != "llama_dated"]
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
ALL = ATTENTION | {"gate_proj", "up_proj", "down_proj"}
ADAPTED = {
    "qwen3_moe": ATTENTION,
    "phi3": {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"},
    "gpt_neox": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
}
NAMED = {
    "phi3": (("qkv_proj", "down_proj"), ("embed_tokens",)),
    "gpt_neox": (("query_key_value", "mlp.dense_4h_to_h"), ("embed_in",)),
}
PREFIXES = {"gemma3_multimodal": "model.language_model.layers.", "gpt_neox": "gpt_neox.layers."}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return request.param, make_chat_model(request.param, tmp_path_factory.mktemp(request.param), steps=3)


def ranked(policy):
    """Answers of any tokens, the embedding's spare rows included: sampling may draw those."""
    start = tuple(policy.prompt_ids(PROMPT))
    spare = policy._base.get_input_embeddings().num_embeddings - 1
    return (RankedAnswers(start, ((70, 71, 72, 2), (73, spare, 2), (74, 75, 76, 77, 2)), 1.0),)


def probed(policy, folder, probe):
    policy.use(None if folder is None else Adapter(str(folder), str(folder), "", None))
    return [logprob for row in policy.token_logprobs(probe.rows) for logprob in row]


@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_the_policy_serves_the_log_probs_that_training_left(model, tmp_path, objective):
    """Prevents an adapter whose layers have other names in the policy, and one that the policy does not apply."""
    kind, folder = model
    policy = TransformersPolicy(PolicySettings(max_new_tokens=8), str(folder))
    assert policy.context_tokens == CONTEXT
    first, second = tmp_path / "first", tmp_path / "second"
    for saved, parent in ((first, None), (second, first)):
        saved.mkdir()
        job = training_job(
            str(folder), (), parent, ranked(policy), objective=objective, epochs=1, learning_rate=1e-2, lora_rank=4
        )
        fit(job, saved, no_progress)
    probe = Probe.load(second)
    for expected, saved in ((probe.own, second), (probe.parent, first), (probe.base, None)):
        assert probed(policy, saved, probe) == pytest.approx(expected, abs=2e-4)
    assert max(abs(own - base) for own, base in zip(probe.parent, probe.base, strict=True)) > 1e-3
    assert max(abs(own - parent) for own, parent in zip(probe.own, probe.parent, strict=True)) > 1e-3
    layers = stored_layers(second)
    assert set(layers.short_names) == ADAPTED.get(kind, ALL)
    assert not layers.experts
    assert not layers.embeddings
    # vLLM maps these names to its own, and no other names of a multimodal model.
    assert all(name.startswith(PREFIXES.get(kind, "model.layers.")) for name in layers.linear)


def test_full_weights_are_those_that_training_left(model, tmp_path):
    """Prevents a vision tower that is lost or changed, and weights that are saved under other names."""
    kind, folder = model
    policy = TransformersPolicy(PolicySettings(max_new_tokens=8), str(folder))
    job = training_job(str(folder), (), None, ranked(policy), method="full", epochs=1, learning_rate=1e-3)
    fit(job, tmp_path, no_progress)
    probe = Probe.load(tmp_path)
    assert probed(policy, tmp_path, probe) == pytest.approx(probe.own, abs=2e-4)
    assert max(abs(own - base) for own, base in zip(probe.own, probe.base, strict=True)) > 1e-3
    before, after = tensors(folder), tensors(tmp_path)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert kind != "gemma3_multimodal" or same
    idle = ("vision_tower", "multi_modal_projector", "experts")  # not every token reaches every expert
    assert all(any(part in name for part in idle) for name in same)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_what_training_adapts_is_what_the_settings_plan(model, tmp_path):
    """Prevents a server that is told other layers than training adapts: PEFT's choice depends on the model's kind."""
    kind, folder = model
    policy = TransformersPolicy(PolicySettings(), str(folder))
    named, embedding = NAMED.get(kind, (("q_proj", "v_proj"), ("embed_tokens",)))
    for targets in ((), ("attention",), ("all-linear",), named, embedding):
        saved = tmp_path / "-".join(["adapter", *targets])
        saved.mkdir()
        job = training_job(str(folder), (), None, ranked(policy), epochs=1, lora_targets=targets)
        fit(job, saved, no_progress)
        planned, stored = planned_layers(str(folder), None, False, job.settings), stored_layers(saved)
        assert planned.names == stored.names
        assert bool(planned.experts) == bool(stored.experts) == (kind == "qwen3_moe" and targets == ("all-linear",))
        with safe_open(saved / ADAPTER_WEIGHTS, framework="pt") as file:
            assert all("lora_" in name for name in file.keys())  # noqa: SIM118
