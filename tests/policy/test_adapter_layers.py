"""The layers of an adapter: chosen on a model without weights, read from a stored adapter, and refused early."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import Gemma2Config, GPT2Config, GPTNeoXConfig, MixtralConfig

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.errors import BadConfig
from cyclealign.policy.adapter_checks import require_layers_of_parent, require_servable, require_settings_of_parent
from cyclealign.policy.adapter_layers import AdaptedLayers, planned_layers, stored_layers
from cyclealign.policy.model_loading import skeleton
from cyclealign.policy.vllm_command import server_command
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Adapter
from tests.support.chat_models import make_chat_model
from tests.support.tiny import make_model

LAYER = "base_model.model.model.layers.0"
SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FUSED = ("mlp.experts", "mlp.experts.base_layer", "mlp.gate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def stored(tmp_path):
    """Store an adapter of given config on given layers of the first block."""

    def store(layers=("self_attn.q_proj",), **config):
        tensors = {f"{LAYER}.{layer}.lora_{side}.weight": torch.zeros(2, 2) for layer in layers for side in "AB"}
        save_file(tensors, tmp_path / "adapter_model.safetensors")
        values = {"r": 16, "lora_alpha": 32, "use_rslora": False, "modules_to_save": None, **config}
        (tmp_path / "adapter_config.json").write_text(json.dumps(values))
        return tmp_path

    return store


def planned(folder, *targets, **settings):
    return planned_layers(folder, None, False, TrainingSettings(lora_targets=targets, **settings))


def test_targets_choose_layers_and_never_the_output_head(folder):
    """Prevents an adapter on layers that nobody asked for."""
    assert planned(folder).short_names == ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
    assert planned(folder, "attention").short_names == ("k_proj", "o_proj", "q_proj", "v_proj")
    assert planned(folder, "q_proj", "mlp.down_proj").linear == (
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.down_proj",
    )
    assert planned(folder, "embed_tokens").embeddings == ("model.embed_tokens",)


@pytest.mark.parametrize("config", [GPTNeoXConfig(**SIZES), GPT2Config(**SIZES), Gemma2Config(**SIZES, head_dim=8)])
def test_the_output_head_is_left_out_whatever_its_name(config, tmp_path):
    """Prevents an adapter on a head that is named otherwise, or tied to the embedding."""
    config.save_pretrained(tmp_path)
    layers, bare = planned(str(tmp_path)), skeleton(str(tmp_path), None)
    head = next(name for name, layer in bare.named_modules() if layer is bare.get_output_embeddings())
    assert len(layers.linear) >= 4
    assert not layers.embeddings
    assert head not in layers.names


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q_prj",), r"lora_targets: the model has no layer 'q_prj'. Its layers: .*q_proj"),
        (("lm_head",), r"lora_targets: 'lm_head' is the output head"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused_by_name(folder, targets, message):
    """Prevents a misspelt layer, or one that the loss does not pass, from costing a round."""
    with pytest.raises(BadConfig, match=message):
        planned(folder, *targets)


def test_a_module_to_save_that_does_not_exist_is_refused(folder):
    """Prevents a misspelt module from being left out in silence."""
    with pytest.raises(BadConfig, match=r"modules_to_save: the model has no module 'embeddings'"):
        planned(folder, modules_to_save=("embeddings",))


def test_one_target_needs_no_brackets_and_groups_stand_alone():
    """Prevents a name that is read as a list of letters."""
    assert TrainingSettings(lora_targets="attention").lora_targets == ("attention",)
    with pytest.raises(ValueError, match="stand alone"):
        TrainingSettings(lora_targets=("attention", "up_proj"))


def test_a_mixture_of_experts_is_adapted_in_its_attention_unless_asked(tmp_path):
    """Prevents adapters on fused experts, which PEFT's "all-linear" includes and vLLM leaves out in silence."""
    sizes = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4}
    MixtralConfig(**sizes, **heads, architectures=["MixtralForCausalLM"]).save_pretrained(tmp_path)
    assert planned(str(tmp_path)).short_names == ("k_proj", "o_proj", "q_proj", "v_proj")
    assert not planned(str(tmp_path)).experts
    asked = planned(str(tmp_path), "all-linear")
    assert set(asked.experts) == {f"model.layers.0.{name}" for name in FUSED}
    with pytest.raises(BadConfig, match=r"on a GPU alone.*policy\.kind"):
        require_servable(planned(str(tmp_path)), TrainingSettings(), on_cpu=True)
    require_servable(planned(str(tmp_path)), TrainingSettings())
    with pytest.raises(BadConfig, match=r"fused experts.*training\.lora_targets to 'attention'"):
        require_servable(asked, TrainingSettings())


def test_a_vision_tower_is_never_adapted(tmp_path):
    """Prevents names such as fc1 and out_proj, which are layers of the vision tower, among those that vLLM is told."""
    folder = str(make_chat_model("gemma3_multimodal", tmp_path, steps=0))
    for targets in ((), ("all-linear",), ("attention",), ("q_proj",)):
        layers = planned(folder, *targets)
        assert layers.linear
        assert all(name.startswith("model.language_model.layers.") for name in layers.linear)


def test_layers_of_a_stored_adapter_are_read_from_its_tensors(stored):
    """Prevents experts that count as layers: PEFT stores adapters on parameters under the names of modules."""
    layers = stored_layers(stored(("self_attn.q_proj", "mlp.down_proj", *FUSED)))
    assert layers.short_names == ("down_proj", "q_proj")
    assert layers.experts == tuple(f"model.layers.0.{name}" for name in FUSED)


@pytest.mark.parametrize(
    ("layers", "settings", "message"),
    [
        (AdaptedLayers((), (), ("mlp.experts",)), {}, r"fused experts"),
        (AdaptedLayers((), ("model.embed_tokens",), ()), {}, r"embeddings.*training\.lora_targets"),
        (AdaptedLayers(("q",), (), ()), {"modules_to_save": ("embed_tokens",)}, r"training\.modules_to_save"),
        (AdaptedLayers(("q",), (), ()), {"lora_rank": 1024}, r"up to rank 512, and training\.lora_rank is 1024"),
    ],
)
def test_vllm_is_given_only_adapters_that_it_serves(layers, settings, message):
    """Prevents a round that is trained and then refused by the engine, or served without a part of its weights."""
    with pytest.raises(BadConfig, match=message):
        require_servable(layers, TrainingSettings(**settings))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 8}, r"training\.lora_rank is 16, and the adapter has 8.*Set training\.lora_rank = 8"),
        ({"lora_alpha": 64}, r"training\.lora_alpha = 64"),
        ({"use_rslora": True}, r"training\.use_rslora = true"),
        ({"modules_to_save": ["embed_tokens"]}, r'training\.modules_to_save = \["embed_tokens"\]'),
    ],
)
def test_settings_that_the_parent_would_override_are_refused(stored, config, message):
    """Prevents a changed rank or scale from having no effect in silence: the parent's adapter is trained on."""
    with pytest.raises(BadConfig, match=message):
        require_settings_of_parent(TrainingSettings(), stored(**config))
    require_settings_of_parent(TrainingSettings(), stored())


def test_layers_other_than_the_parents_are_refused(folder, stored):
    """Prevents targets that have no effect because the parent has others."""
    with pytest.raises(BadConfig, match=r"selects k_proj, o_proj.* changes q_proj\. Remove training\.lora_targets"):
        require_layers_of_parent(planned(folder, "attention"), stored())


def test_vllm_is_told_the_layers_of_settings_and_parent(folder, stored):
    """Prevents weights of an adapter of an earlier version from being left out of what vLLM serves."""
    settings = PolicySettings(kind="vllm", model=folder)
    policy = VllmPolicy(settings, EngineSettings(), folder, TrainingSettings(lora_targets="q_proj"))
    assert policy._served().lora_modules == ("q_proj",)
    older = Adapter("older", str(stored(("self_attn.q_proj", "mlp.shared_expert.up_proj"), r=24)), "0" * 64, None)
    policy._note_layers(older)
    served = policy._served()
    assert (served.lora_modules, served.lora_rank) == (("q_proj", "up_proj"), 24)


def test_the_server_is_told_exactly_those_layers(folder, tmp_path):
    """Prevents a flag that lists other layers than the model serves."""
    python = tmp_path / "python"
    python.touch()
    engine = EngineSettings(python=str(python))
    policy = VllmPolicy(
        PolicySettings(kind="vllm", model=folder), engine, folder, TrainingSettings(lora_targets="attention")
    )
    command = server_command(engine, policy._served(), "name", 1)
    start = command.index("--lora-target-modules") + 1
    assert command[start : start + 4] == ["k_proj", "o_proj", "q_proj", "v_proj"]
