"""Log-probs of given tokens: batches, padding and chunks of logits change neither values nor memory bounds."""

import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GPT2Config, GraniteConfig, LlamaConfig

from cyclealign.config import PolicySettings
from cyclealign.policy.token_logprobs import batches_by_length, next_token_logprobs, token_logprobs
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Prompt
from tests.support.tiny import make_model
from tests.support.vocabulary_tensors import VocabularyTensors

VOCABULARY = 97
SIZES = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, intermediate_size=48),
    "gemma2": Gemma2Config(**SIZES, intermediate_size=48, head_dim=16, num_key_value_heads=1, sliding_window=4),
    "cohere": CohereConfig(**SIZES, intermediate_size=48, logit_scale=0.3, eos_token_id=2),
    "granite": GraniteConfig(**SIZES, intermediate_size=48, logits_scaling=7.0),
    "gpt2": GPT2Config(
        **SIZES, bos_token_id=1, eos_token_id=2
    ),  # positions that are learnt: padding before a row would move them
}
ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13], [5, 6, 7], [20, 21, 22, 23, 24], [3, 4], list(range(30, 50)), [60, 61, 62]]


def model_of(kind):
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()


def plain(model, row):
    """Return the log-probs by the definition, a row at a time."""
    with torch.no_grad():
        logprobs = model(torch.tensor([row])).logits[0].log_softmax(-1)
    return [logprobs[position - 1, row[position]].item() for position in range(1, len(row))]


@pytest.mark.parametrize("kind", CONFIGS)
def test_batches_and_chunks_give_the_log_probs_of_a_plain_forward_pass(kind):
    """Prevents log-probs without the model's soft-capping or scale of logits, or of positions moved by padding."""
    model = model_of(kind)
    for max_tokens, max_logits in ((8192, 2**25), (40, 3 * VOCABULARY), (1, 1)):
        scored = token_logprobs(model, ROWS, max_tokens=max_tokens, max_logits=max_logits)
        for row, values in zip(ROWS, scored, strict=True):
            assert values == pytest.approx(plain(model, row), abs=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_labels_of_one_token_share_one_pass(kind):
    """Prevents labels scored at the wrong position, or without the model's soft-capping or scale of logits."""
    model, row, labels = model_of(kind), ROWS[0], [40, 2, 41]
    expected = [plain(model, [*row, label])[-1] for label in labels]
    assert next_token_logprobs(model, row, labels) == pytest.approx(expected, abs=1e-5)


def test_the_policy_scores_one_token_and_longer_answers_alike(tmp_path):
    """Prevents a list of one-token answers from being scored on another scale than the next one."""
    policy = TransformersPolicy(PolicySettings(), str(make_model(tmp_path)))
    asked = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
    together = policy.logprob_sums(asked, [[9], [10], [11, 12]])
    assert policy.logprob_sums(asked, [[9], [10]]) == pytest.approx(together[:2], abs=1e-5)


def test_only_the_tokens_from_the_start_on_are_scored():
    """Prevents a sum that holds log-probs of the prompt."""
    model = model_of("llama")
    starts = [4, 2, 5, 1, 19, 3]  # two rows end before they start
    scored = token_logprobs(model, ROWS, starts)
    assert [len(values) for values in scored] == [5, 1, 0, 1, 1, 0]
    for row, start, values in zip(ROWS, starts, scored, strict=True):
        assert values == pytest.approx(plain(model, row)[start - 1 :], abs=1e-5)


def test_a_rows_log_probs_do_not_depend_on_the_rows_beside_it():
    """Prevents scores, and with them rankings, that change with the size of a batch."""
    model = model_of("llama")
    together = token_logprobs(model, ROWS)
    for row, values in zip(ROWS, together, strict=True):
        assert token_logprobs(model, [row])[0] == pytest.approx(values, abs=1e-6)


def test_no_more_logits_than_one_chunk_are_in_memory():
    """Prevents a matrix of tokens times vocabulary, 5 GB for 8,192 tokens of a vocabulary of 151,936."""
    model = model_of("llama")
    with VocabularyTensors(VOCABULARY) as recorded:
        token_logprobs(model, ROWS, max_logits=6 * VOCABULARY)
    assert recorded.most_rows == 6


def test_the_model_is_as_before_after_scoring():
    """Prevents a forward pass that goes on returning the last chunk."""
    model = model_of("llama")
    before = plain(model, ROWS[0])
    token_logprobs(model, ROWS, max_logits=VOCABULARY)
    assert plain(model, ROWS[0]) == before


def test_rows_of_like_length_share_a_batch():
    """Prevents batches beyond the bound, and rows that are left out."""
    batches = batches_by_length([9, 3, 5, 2, 20, 3], 18)
    assert batches == [[4], [0, 2], [1, 5, 3]]


def test_generation_keeps_the_logits_of_one_step(tmp_path):
    """Prevents `output_logits`: 2.5 GB for 16 answers of 256 tokens with a vocabulary of 151,936."""
    folder = str(make_model(tmp_path))
    model, num_answers, steps = AutoModelForCausalLM.from_pretrained(folder), 8, 20
    vocabulary, prompt = model.config.vocab_size, Prompt.of(({"role": "user", "content": "how do i bake bread"},))
    alive = []
    for max_new_tokens in (4, steps):
        policy = TransformersPolicy(PolicySettings(max_new_tokens=max_new_tokens, top_p=0.9), folder)
        with VocabularyTensors(vocabulary) as recorded:
            (answers,) = policy.answer([prompt], num_answers, seed=1)
        assert max(len(answer.token_ids) for answer in answers) == max_new_tokens
        assert recorded.most_rows == num_answers
        alive.append(recorded.most_rows_alive)
    with VocabularyTensors(vocabulary) as kept, torch.no_grad():
        ids = torch.tensor([policy.prompt_ids(prompt)] * num_answers)
        model.generate(
            ids, max_new_tokens=steps, min_new_tokens=steps, output_logits=True, return_dict_in_generate=True
        )
    assert alive[0] == alive[1] < steps * num_answers <= kept.most_rows_alive
