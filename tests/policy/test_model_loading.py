"""Which class loads a checkpoint, and clear messages for models that cannot be loaded."""

import httpx
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Gemma3Config,
    Gemma3TextConfig,
    MambaConfig,
    Mistral3Config,
    Qwen3_5Config,
)

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy.model_loading import auto_class, load_adapter, load_model
from cyclealign.policy.tokenizer import context_of, load_tokenizer
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Prompt
from tests.support.tiny import make_model

HUB_ID = "some/model"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Gemma3TextConfig(), AutoModelForCausalLM),
        (Gemma3Config(architectures=["Gemma3ForConditionalGeneration"]), AutoModelForImageTextToText),
        (Mistral3Config(), AutoModelForImageTextToText),  # has no class for text alone
        # Has both: layers must have the names of the class that vLLM serves, which is the checkpoint's.
        (Qwen3_5Config(architectures=["Qwen3_5ForConditionalGeneration"]), AutoModelForImageTextToText),
        (Qwen3_5Config(architectures=["Qwen3_5ForCausalLM"]), AutoModelForCausalLM),
    ],
)
def test_a_checkpoint_is_loaded_by_the_class_that_saved_it(config, expected):
    """Prevents multimodal checkpoints that cannot be loaded, or whose adapters have names that vLLM ignores."""
    assert auto_class(config) is expected


def test_the_context_is_that_of_the_language_model():
    """Prevents an AttributeError, or the length of another part, for models whose config has parts."""
    assert context_of(Gemma3Config(text_config={"max_position_embeddings": 777})) == 777
    assert context_of(MambaConfig()) is None


def hub_error(kind, status):
    if kind is LocalEntryNotFoundError:
        return kind("not in the cache")
    return kind("told by the hub", response=httpx.Response(status, request=httpx.Request("GET", "https://hub.test")))


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        (GatedRepoError, 403, r"'some/model' is gated.*huggingface\.co/some/model.*hf auth login.*HF_TOKEN"),
        (RevisionNotFoundError, 404, r"no such revision. Set policy\.revision"),
        (RepositoryNotFoundError, 401, r"no such model that you may read.*policy\.model.*private"),
        (LocalEntryNotFoundError, 0, r"not in the hub's cache.*HF_HUB_OFFLINE"),
    ],
)
def test_the_hubs_refusals_are_told_apart(monkeypatch, kind, status, message):
    """Prevents "no such folder" for a model whose terms were not accepted."""

    def refuse(*_, **__):
        # As transformers does: its own error, with the hub's as the cause.
        raise OSError("You are trying to access it.\nMore lines.") from hub_error(kind, status)

    for loader in (AutoConfig, AutoTokenizer):
        monkeypatch.setattr(loader, "from_pretrained", refuse)
    for load in (lambda: load_model(HUB_ID, None, "cpu"), lambda: load_tokenizer(HUB_ID)):
        with pytest.raises(PolicyError, match=message) as caught:
            load()
        assert "More lines" not in str(caught.value)


def test_a_model_of_several_files_is_loaded_and_a_missing_one_is_named(tmp_path):
    """Prevents large models from being refused, and random weights in place of a file that is missing."""
    whole, parts = make_model(tmp_path / "whole"), tmp_path / "parts"
    model = load_model(str(whole), None, "cpu")
    model.save_pretrained(parts, max_shard_size="12KB")
    loaded = load_model(str(parts), None, "cpu").state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in model.state_dict().items())
    missing = sorted(parts.glob("*.safetensors"))[0]
    missing.unlink()
    with pytest.raises(PolicyError, match=f"cannot be loaded: .*{missing.name}"):
        load_model(str(parts), None, "cpu")


def test_weights_that_are_missing_are_not_filled_with_random_ones(tmp_path):
    """Prevents a model that answers nonsense with a warning in a log: its files lack a layer, or name another class."""
    file = make_model(tmp_path) / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(PolicyError, match=r"no weights for model\.layers\.1\.self_attn\.q_proj\.weight and 1 tensors"):
        load_model(str(tmp_path), None, "cpu")


def test_a_pad_token_beyond_the_vocabulary_is_replaced(tmp_path):
    """Prevents an index error in padding: tokenizers have pad tokens that were added without an embedding."""
    make_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"pad_token": "<added>"})
    tokenizer.save_pretrained(tmp_path)
    policy = TransformersPolicy(PolicySettings(max_new_tokens=4), str(tmp_path))
    prompts = [Prompt.of(({"role": "user", "content": text},)) for text in ("how", "how do i bake bread")]
    assert len(policy.answer(prompts, 2, seed=0)) == 2


def test_a_token_without_an_embedding_is_named(tmp_path):
    """Prevents an index error, far from its cause, for a chat template with tokens that the model does not have."""
    make_model(tmp_path, template="<added> {{ messages[0]['content'] }}")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens(["<added>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    policy = TransformersPolicy(PolicySettings(max_new_tokens=4), str(tmp_path))
    with pytest.raises(PolicyError, match=r"the token '<added>' \(\d+\), and the model's embedding has \d+ rows"):
        policy.answer([Prompt.of(({"role": "user", "content": "how"},))], 2, seed=0)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    """Prevents an adapter whose weights do not fit from being served as if it were the base model."""
    from peft import LoraConfig, get_peft_model

    base = load_model(str(make_model(tmp_path / "model")), None, "cpu")
    get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"q_proj"', '"q_proj", "v_proj"'))
    with pytest.raises(PolicyError, match=r"cannot be loaded: .*v_proj"):
        load_adapter(load_model(str(tmp_path / "model"), None, "cpu"), str(tmp_path / "adapter"))
