"""Models of many architectures and chat templates: generation and scoring see the same tokens."""

import pytest

from cyclealign.config import PolicySettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Message, Prompt
from tests.support.chat_models import KINDS, make_chat_model


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
