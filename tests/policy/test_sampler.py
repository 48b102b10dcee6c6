"""Sampling: the draws of a whole batch, whether it is answered at once or in parts, and the log-probs beside them."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from cyclealign.config import PolicySettings
from cyclealign.errors import PolicyError
from cyclealign.policy.sampler import Sampler
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Prompt
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

SETTINGS = {"max_new_tokens": 12, "temperature": 0.7, "top_p": 0.9}


def ask(text):
    return Prompt.of(({"role": "user", "content": text},))


# Of different lengths, so that the padding of a part differs from that of the batch.
PROMPTS = [ask("how do i bake bread"), ask("fix a tyre and then bake bread or fix the pump"), ask("no")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def policy(folder):
    return TransformersPolicy(PolicySettings(**SETTINGS), str(folder))


class LimitedMemory:
    """A model that runs out of memory if a batch has more rows than ``max_rows``."""

    def __init__(self, policy, max_rows):
        self.sizes = []
        forward = policy._base.forward

        def limited(*args, **inputs):
            self.sizes.append(len(inputs["input_ids"]))
            if self.sizes[-1] > max_rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(*args, **inputs)

        policy._base.forward = limited


def samples(answers):
    return [(answer.token_ids, answer.finish_reason) for row in answers for answer in row]


def test_samples_are_those_of_transformers_own_sampling(policy, folder):
    """Prevents other answers than those of earlier versions to the same seed, and a biased draw."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    encoded = policy._padded([policy.prompt_ids(prompt) for prompt in PROMPTS])
    config = GenerationConfig(
        do_sample=True, top_k=0, num_return_sequences=4, pad_token_id=0, eos_token_id=2, output_logits=True,
        return_dict_in_generate=True, **SETTINGS
    )  # fmt: skip
    torch.manual_seed(3)
    output = model.generate(**encoded, generation_config=config)
    ids = output.sequences[:, encoded["input_ids"].shape[1] :]
    answers = [answer for row in policy.answer(PROMPTS, 4, seed=3) for answer in row]
    for row, answer in enumerate(answers):
        length = len(answer.token_ids)
        assert answer.token_ids == tuple(ids[row, :length].tolist())
        logprobs = [output.logits[step][row].log_softmax(-1)[ids[row, step]].item() for step in range(length)]
        assert answer.logprob_sum == sum(logprobs)


@pytest.mark.parametrize("max_rows", [6, 5, 1])
def test_a_batch_that_does_not_fit_is_answered_in_parts_with_the_same_samples(policy, max_rows):
    """Prevents a run that ends because a batch is too large, or whose answers depend on free memory."""
    expected = policy.answer(PROMPTS, 4, seed=7)
    memory = LimitedMemory(policy, max_rows)
    answers = policy.answer(PROMPTS, 4, seed=7)
    assert samples(answers) == samples(expected)
    sums = [answer.logprob_sum for row in answers for answer in row]
    assert sums == pytest.approx([answer.logprob_sum for row in expected for answer in row], abs=1e-4)
    memory.sizes.clear()
    policy.answer(PROMPTS, 4, seed=8)
    assert max(memory.sizes) <= max_rows  # the size that fitted is kept


def test_scoring_that_does_not_fit_is_done_in_smaller_batches(policy):
    """Prevents a drift that cannot be measured after all answers are sampled and judged."""
    rows = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8], [10, 11]]
    expected = policy.token_logprobs(rows)
    backbone, sizes = policy._base.base_model, []
    forward = backbone.forward

    def limited(*args, **inputs):
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(*args, **inputs)

    backbone.forward = limited
    for row, values in zip(expected, policy.token_logprobs(rows), strict=True):
        assert values == pytest.approx(row, abs=1e-5)
    assert max(sizes) > 8


def test_a_single_answer_that_does_not_fit_is_reported(policy):
    """Prevents an endless loop, and an error that names no setting."""
    LimitedMemory(policy, 0)
    with pytest.raises(PolicyError, match=r"policy\.max_new_tokens"):
        policy.answer(PROMPTS[:1], 2, seed=0)


def test_other_errors_are_raised_at_once(policy):
    """Prevents a failure of another kind from being repeated in ever smaller parts."""
    policy._base.forward = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        policy.answer(PROMPTS, 2, seed=0)


def test_the_model_folders_own_generation_config_does_not_change_the_distribution(tmp_path):
    """Prevents a repetition penalty of the folder, whose samples are not drawn from the log-probs that are stored."""
    plain = TransformersPolicy(PolicySettings(**SETTINGS), str(make_model(tmp_path)))
    expected = plain.answer(PROMPTS, 4, seed=2)
    file = tmp_path / "generation_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "repetition_penalty": 3.0, "top_k": 2, "do_sample": True}))
    assert TransformersPolicy(PolicySettings(**SETTINGS), str(tmp_path)).answer(PROMPTS, 4, seed=2) == expected


def test_the_draw_follows_the_distribution():
    """Prevents a rule of drawing that favours tokens: 20,000 draws of one step, against their probabilities."""
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    sampler = Sampler(1.0, 1.0, 5, range(20_000), 20_000, "cpu")
    drawn = sampler(torch.zeros(20_000, 1, dtype=torch.long), probs.log().expand(20_000, 4)).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert (shares - probs).abs().max() < 0.01
    assert torch.equal(sampler.logprobs(1)[:, 0], probs.log().log_softmax(-1)[drawn])
