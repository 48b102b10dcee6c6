"""The real formats: HH-RLHF's own file, and a model folder as one finds it. Skipped where they are absent."""

import pytest

from cyclealign.config import PolicySettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.prompt_import import read_source
from cyclealign.records import Prompt
from tests.support.paths import SHARED

HH_RLHF = SHARED / "data" / "hh_rlhf" / "harmless-base" / "test.jsonl.gz"
MODEL = SHARED / "models" / "tiny-chat"


@pytest.mark.skipif(not HH_RLHF.is_file(), reason=f"no HH-RLHF at {HH_RLHF}")
def test_all_of_hh_rlhf_is_read():
    """Prevents a strict reader from refusing what the real file holds: two turns of one speaker in a row."""
    found = read_source(str(HH_RLHF))
    assert len(found.prompts) == 2310
    assert len(found.labelled) == 240
    assert all(prompt.messages[-1]["role"] == "user" for prompt, _ in found.prompts)


@pytest.mark.skipif(not MODEL.is_dir(), reason=f"no model at {MODEL}")
def test_logprobs_of_a_real_model_equal_a_fresh_forward_pass():
    """Prevents generation and scoring from seeing different tokens under a real tokenizer and chat template."""
    policy = TransformersPolicy(PolicySettings(max_new_tokens=12, temperature=0.8), str(MODEL))
    prompts = [Prompt.of(({"role": "user", "content": text},)) for text in ("How do I bake bread?", "Tell me a joke.")]
    for prompt, answers in zip(prompts, policy.answer(prompts, 2, seed=1), strict=True):
        again = policy.logprob_sums(prompt, [answer.token_ids for answer in answers])
        assert [answer.logprob_sum for answer in answers] == pytest.approx(again, abs=1e-3)
