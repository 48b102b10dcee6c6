"""The demo policy: small, servable, deterministic, and trained only once."""

from statistics import fmean, pstdev

import pytest
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

from cyclealign.config import PolicySettings
from cyclealign.demo.policy import Recipe, demo_policy
from cyclealign.demo.world import dataset
from cyclealign.policy.chat_template import answer_ids, prompt_ids
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Prompt

pytestmark = pytest.mark.slow

TINY = Recipe(pairs=40, batch=20, vocabulary=300, hidden=16, intermediate=16, layers=1, heads=1, head_dim=16)


@pytest.fixture(scope="module")
def tokenizer(policy_folder):
    return AutoTokenizer.from_pretrained(policy_folder)


def test_a_second_call_trains_nothing_and_another_recipe_trains_anew(tmp_path):
    """Prevents minutes of training before each run, and a stale model after a change of the recipe."""
    steps = []
    first = demo_policy(tmp_path, lambda done, of: steps.append((done, of)), TINY)
    assert steps == [(1, 2), (2, 2)]
    assert demo_policy(tmp_path, lambda done, of: steps.append((done, of)), TINY) == first
    assert len(steps) == 2
    assert demo_policy(tmp_path, None, Recipe(**{**vars(TINY), "seed": 1})) != first


def test_training_that_is_stopped_leaves_no_model_behind(tmp_path):
    """Prevents a partial folder from being used as a finished model."""

    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_policy(tmp_path, stop, TINY)
    assert list(tmp_path.iterdir()) == []


def test_the_same_recipe_gives_the_same_weights(tmp_path):
    """Prevents seeds without effect: all runs of the demo start from one model."""
    folders = [demo_policy(tmp_path / name, None, TINY) for name in ("a", "b")]
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(first[name].equal(second[name]) for name in first)


def test_the_model_is_a_small_plain_llama_in_safetensors(policy_folder):
    """Prevents a model that vLLM cannot serve, or files that execute code when loaded."""
    config = AutoConfig.from_pretrained(policy_folder)
    weights = load_file(policy_folder / "model.safetensors")
    assert config.model_type == "llama"
    assert config.head_dim % 32 == 0
    assert sum(weight.numel() for weight in weights.values()) <= 3_000_000
    assert not [path for path in policy_folder.iterdir() if path.suffix in {".bin", ".pt", ".pkl", ".py"}]


@pytest.mark.parametrize(
    "text", ["For basil, water it.", " two  spaces\n\nand lines ", "Ünïcödé {{ x }} 你好 🙂", "<b>don't</b>"]
)
def test_any_text_survives_the_tokenizer(tokenizer, text):
    """Prevents answers that change between tokens and text."""
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_chat_template_knows_all_roles_and_opens_the_answer(tokenizer):
    """Prevents scoring and generation from using other token ids than training."""
    system, user = {"role": "system", "content": "Be kind."}, {"role": "user", "content": "How do I knit?"}
    start = prompt_ids(tokenizer, (system, user))
    whole = tokenizer.apply_chat_template(
        [system, user, {"role": "assistant", "content": "Slowly."}], tokenize=True, return_dict=True
    )["input_ids"]
    assert start[0] == tokenizer.bos_token_id
    assert [*start, *answer_ids(tokenizer, "Slowly.")] == whole
    assert tokenizer.eos_token_id != tokenizer.pad_token_id


def test_answers_end_by_themselves_differ_and_vary_in_quality(policy_folder):
    """Prevents a demo without differences to rank."""
    policy = TransformersPolicy(PolicySettings(), str(policy_folder))
    prompts = [Prompt.of(({"role": "user", "content": text},)) for text in dataset.prompts("alignment")[:24]]
    answers = policy.answer(prompts, count=4, seed=1)
    worth = [
        [dataset.quality(prompt.text, each.text) for each in group]
        for prompt, group in zip(prompts, answers, strict=True)
    ]
    assert fmean(len({each.text for each in group}) for group in answers) > 3.5
    assert fmean(each.finish_reason == "stop" for group in answers for each in group) > 0.9
    assert 0.25 < fmean(value for group in worth for value in group) < 0.55
    assert fmean(map(pstdev, worth)) > 0.12
