"""The transformers policy: samples, their log-probs, adapters, and models that are refused."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError, WrongWeights
from cyclealign.policy import Answer, as_candidates, candidate_id, distinct
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Adapter, Prompt
from tests.support.paths import SHARED
from tests.support.tiny import make_model

REAL_MODEL = SHARED / "models" / "tiny-chat"


def prompt(text, *before):
    return Prompt.of((*before, {"role": "user", "content": text}))


# Of different lengths, so that one of them is padded.
PROMPTS = [prompt("how do i bake bread"), prompt("fix a tyre and then bake bread or fix the pump"), prompt("no")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def policy(folder):
    return TransformersPolicy(PolicySettings(max_new_tokens=12, temperature=0.7, top_p=0.9), str(folder))


@pytest.fixture(scope="module")
def adapters(folder, tmp_path_factory):
    return [make_adapter(folder, tmp_path_factory.mktemp(f"adapter-{seed}"), seed) for seed in (1, 2)]


def make_adapter(folder, where, seed):
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(folder)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(where)
    return Adapter(f"adapter-{seed}", str(where), f"hash-{seed}", None)


def test_logprobs_kept_at_generation_equal_a_fresh_forward_pass(policy):
    """Prevents a ranking by log-probs after temperature or top-p, or by log-probs shifted by padding."""
    for asked, answers in zip(PROMPTS, policy.answer(PROMPTS, 4, seed=3), strict=True):
        again = policy.logprob_sums(asked, [answer.token_ids for answer in answers])
        assert [answer.logprob_sum for answer in answers] == pytest.approx(again, abs=1e-4)


def test_logprobs_equal_a_plain_loop_over_the_model(policy, folder):
    """Prevents sampling and scoring from being wrong in the same way."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    (answers,) = policy.answer(PROMPTS[:1], 2, seed=5)
    for answer in answers:
        ids, total = policy.prompt_ids(PROMPTS[0]), 0.0
        for token in answer.token_ids:
            with torch.no_grad():
                total += model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token].item()
            ids = [*ids, token]
        assert answer.logprob_sum == pytest.approx(total, abs=1e-4)


def test_the_same_seed_gives_the_same_answers(policy):
    """Prevents a resumed run from drawing other answers than those that were judged."""
    assert policy.answer(PROMPTS, 3, seed=11) == policy.answer(PROMPTS, 3, seed=11)
    assert policy.answer(PROMPTS, 3, seed=11) != policy.answer(PROMPTS, 3, seed=12)


def test_sampling_leaves_the_callers_random_state_alone(policy):
    """Prevents a training run whose shuffling depends on how much was sampled before."""
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    policy.answer(PROMPTS[:1], 1, seed=9)
    assert torch.rand(1) == expected


def test_an_answer_ends_at_its_end_token(policy):
    """Prevents padding from being counted as tokens of the answer, which would change its mean log-prob."""
    answers = [answer for row in policy.answer(PROMPTS, 8, seed=1) for answer in row]
    stopped = [answer for answer in answers if answer.finish_reason == "stop"]
    assert stopped
    assert all(answer.token_ids[-1] == 2 and answer.token_ids.count(2) == 1 for answer in stopped)
    assert all(len(answer.token_ids) == 12 for answer in answers if answer.finish_reason == "length")


def test_adapters_change_the_scores_and_differ_from_one_another(policy, adapters):
    """Prevents a stale adapter: each must differ from the base and from the other, also on the way back."""
    ids = [[5, 6, 7, 2]]
    seen = []
    for adapter in (None, adapters[0], adapters[1], None, adapters[0]):
        policy.use(adapter)
        seen.append(policy.logprob_sums(PROMPTS[0], ids)[0])
    policy.use(None)
    base, first, second, base_again, first_again = seen
    assert base == pytest.approx(base_again, abs=1e-5)
    assert first == pytest.approx(first_again, abs=1e-5)
    assert min(abs(base - first), abs(base - second), abs(first - second)) > 1e-3


@pytest.mark.slow
def test_an_adapter_that_was_refused_leaves_nothing_behind(folder, adapters, tmp_path):
    """Prevents the base model from answering with half an adapter, and a second try from taking that half for whole."""
    half = make_adapter(folder, tmp_path / "half", 3)
    file = tmp_path / "half" / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "v_proj" not in name}, file)
    fresh = TransformersPolicy(PolicySettings(), str(folder))
    base = fresh.token_logprobs([[5, 6, 7, 2]])
    for before in (None, adapters[0]):
        fresh.use(before)
        for _ in range(2):
            with pytest.raises(PolicyError, match="v_proj"):
                fresh.use(half)
        fresh.use(None)
        assert fresh.token_logprobs([[5, 6, 7, 2]]) == base


def test_a_missing_model_is_reported():
    """Prevents a traceback that does not name the setting."""
    with pytest.raises(PolicyError, match="No tokenizer '/nowhere/model'"):
        TransformersPolicy(PolicySettings(), "/nowhere/model")


def test_a_tokenizer_without_a_chat_template_is_reported(tmp_path):
    """Prevents prompts in another format than the model was trained on."""
    bare = TransformersPolicy(PolicySettings(), str(make_model(tmp_path, template=None)))
    with pytest.raises(PolicyError, match="has no chat template"):
        bare.answer(PROMPTS[:1], 1, seed=0)


def test_a_model_with_remote_code_is_refused(tmp_path):
    """Prevents a downloaded folder from running code in this process."""
    config = make_model(tmp_path) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(PolicyError, match="auto_map"):
        TransformersPolicy(PolicySettings(), str(tmp_path))


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    """Prevents a pickle from being loaded."""
    weights = make_model(tmp_path) / "model.safetensors"
    weights.unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"holds no \*\.safetensors, only pytorch_model\.bin"):
        TransformersPolicy(PolicySettings(), str(tmp_path))


def sample(text, ids=(5, 2)):
    return Answer(text, ids, -1.0, "stop")


def test_candidate_ids_hash_everything_that_determines_them():
    """Prevents a second round from finding the first one's answers under its own ids."""
    one, two = Adapter("a", "", "hash-a", None), Adapter("b", "", "hash-b", None)
    ids = {
        candidate_id(PROMPTS[0], ["round", "x", 1], None, 0),
        candidate_id(PROMPTS[0], ["round", "x", 2], None, 0),
        candidate_id(PROMPTS[0], ["round", "x", 1], one, 0),
        candidate_id(PROMPTS[0], ["round", "x", 1], two, 0),
        candidate_id(PROMPTS[1], ["round", "x", 1], None, 0),
        candidate_id(PROMPTS[0], ["round", "x", 1], None, 1),
    }
    assert len(ids) == 6


def test_empty_and_equal_answers_are_not_ranked():
    """Prevents a judge from being asked, and paid, to order two copies of one text."""
    candidates = as_candidates(PROMPTS[0], [sample("a"), sample(" a"), sample("  "), sample("b")], ["o"], None)
    assert [candidate.position for candidate in distinct(candidates)] == [0, 3]


def test_answers_of_another_adapter_do_not_become_candidates():
    """Prevents answers of stale weights from entering the history under the round's adapter."""
    with pytest.raises(WrongWeights):
        as_candidates(PROMPTS[0], [sample("a")], ["o"], Adapter("a", "", "hash-a", None))


def test_the_tokens_logprobs_add_up_to_the_sums(policy):
    """Prevents a probe that measures other log-probs than those that rankings use."""
    ids = policy.prompt_ids(PROMPTS[0])
    (row,) = policy.token_logprobs([[*ids, 5, 6, 2]])
    assert len(row) == len(ids) + 2
    assert policy.logprob_sums(PROMPTS[0], [[5, 6, 2]]) == pytest.approx([sum(row[-3:])], abs=1e-4)


@pytest.mark.skipif(not REAL_MODEL.is_dir(), reason=f"no model at {REAL_MODEL}")
def test_logprobs_of_a_real_model_equal_a_fresh_forward_pass():
    """Prevents generation and scoring from seeing different tokens under a real tokenizer and chat template."""
    real = TransformersPolicy(PolicySettings(max_new_tokens=12, temperature=0.8), str(REAL_MODEL))
    prompts = [prompt("How do I bake bread?"), prompt("Tell me a joke.")]
    for asked, answers in zip(prompts, real.answer(prompts, 2, seed=1), strict=True):
        rescored = real.logprob_sums(asked, [answer.token_ids for answer in answers])
        assert [answer.logprob_sum for answer in answers] == pytest.approx(rescored, abs=1e-3)
