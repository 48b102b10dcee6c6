"""Models of many architectures and chat templates: generation and scoring see the same tokens."""

import json

import pytest

from cyclealign.config import PolicySettings
from cyclealign.errors import BadConfig
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Message, Prompt
from tests.support.chat_models import KINDS, make_chat_model

pytestmark = pytest.mark.slow


def prompt(text, *before):
    return Prompt.of((*before, Message(role="user", content=text)))


# Of different lengths, so that one of them is padded.
PROMPTS = [prompt("how do i bake bread"), prompt("fix a tyre and then use the pump or the oven"), prompt("no")]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = make_chat_model(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


@pytest.fixture
def policy_of(folders):
    def policy(kind, **settings):
        return TransformersPolicy(PolicySettings(**{"max_new_tokens": 24, **settings}), str(folders(kind)))

    return policy


@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_of_generation_equal_those_of_scoring(kind, policy_of):
    """Prevents a ranking by log-probs of other tokens than were sampled: other end tokens, padding, a doubled BOS."""
    policy = policy_of(kind)
    for asked, answers in zip(PROMPTS, policy.answer(PROMPTS, 4, seed=3), strict=True):
        ids = policy.prompt_ids(asked)
        again = policy.token_logprobs([[*ids, *answer.token_ids] for answer in answers])
        sums = [sum(row[-len(answer.token_ids) :]) for row, answer in zip(again, answers, strict=True)]
        assert [answer.logprob_sum for answer in answers] == pytest.approx(sums, abs=1e-3)
        padded = policy.logprob_sums(asked, [answer.token_ids for answer in answers])
        assert [answer.logprob_sum for answer in answers] == pytest.approx(padded, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_ends_with_any_of_the_models_end_tokens(kind, policy_of):
    """Prevents answers that go on after the end of their turn because it is not the tokenizer's EOS."""
    policy = policy_of(kind)
    ends = policy._tokenizer.convert_tokens_to_ids(list(KINDS[kind].ends))
    answers = [answer for row in policy.answer(PROMPTS, 8, seed=1) for answer in row]
    stopped = [answer for answer in answers if answer.finish_reason == "stop"]
    assert {answer.token_ids[-1] for answer in stopped} == set(ends)
    assert all(sum(token in ends for token in answer.token_ids) == 1 for answer in stopped)
    assert not any(mark in answer.text for answer in answers for mark in KINDS[kind].ends)


def test_logprobs_equal_with_a_system_prompt_and_several_turns(policy_of):
    """Prevents scoring from rendering a prompt without what generation was given."""
    before = (Message(role="user", content="fix it"), Message(role="assistant", content="use the pump"))
    for kind in ("qwen3_thinking", "gemma2_no_system"):
        policy = policy_of(kind, system_prompt="be safe")
        several = prompt("and then", *before)
        assert "be safe" in policy._tokenizer.decode(policy.prompt_ids(several))
        for answer in policy.answer([several], 4, seed=2)[0]:
            assert policy.logprob_sums(several, [answer.token_ids]) == pytest.approx([answer.logprob_sum], abs=1e-3)


def test_a_model_without_pad_and_end_tokens_can_be_batched(tmp_path):
    """Prevents a crash in padding for a model whose tokenizer has neither."""
    folder = make_chat_model("no_pad_token", tmp_path, steps=0)
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({name: value for name, value in values.items() if name != "eos_token"}))
    policy = TransformersPolicy(PolicySettings(max_new_tokens=6), str(folder))
    assert policy._tokenizer.eos_token_id is None
    for asked, answers in zip(PROMPTS, policy.answer(PROMPTS, 2, seed=4), strict=True):
        again = policy.logprob_sums(asked, [answer.token_ids for answer in answers])
        assert [answer.logprob_sum for answer in answers] == pytest.approx(again, abs=1e-3)


def test_configured_end_tokens_end_answers(policy_of):
    """Prevents a base model, which knows no end of a turn, from always being cut at the limit."""
    policy = policy_of("qwen2", end_tokens=[" bread"])
    ended = policy._tokenizer(" bread")["input_ids"][0]
    answers = [answer for row in policy.answer(PROMPTS, 16, seed=1) for answer in row]
    assert any(answer.token_ids[-1] == ended and " bread" not in answer.text for answer in answers)
    assert not any(ended in answer.token_ids[:-1] for answer in answers)
    with pytest.raises(BadConfig, match=r"policy\.end_tokens: 'bread and the pump' is \d+ tokens"):
        policy_of("qwen2", end_tokens=["bread and the pump"])
