"""Thoughts of reasoning models: where they end, and what is left as the answer."""

import pytest

from cyclealign.config import PolicySettings
from cyclealign.policy import as_candidates, distinct
from cyclealign.policy.samples import SampleReader
from cyclealign.policy.thoughts import opened_by_prompt, thought_length, tokens_of_prefix
from cyclealign.records import Message, Prompt
from tests.support.chat_models import KINDS, make_chat_model, make_tokenizer

THINK = ("<think>", "</think>")
TOKENS = {"<think>", "</think>"}


@pytest.mark.parametrize(
    ("raw", "opened", "answer"),
    [
        ("<think>\nbread\n</think>\n\nuse the oven", None, "use the oven"),
        ("bread\n</think>\n\nuse the oven", THINK, "use the oven"),  # DeepSeek's template begins the thought
        ("bread\n</think>\n\nuse the oven", None, "use the oven"),  # an older template, the mark is a token
        ("<think></think><think>more</think> no", None, "no"),
        ("[THINK]bread[/THINK]use it", None, "use it"),
        (
            "<|channel|>analysis<|message|>bread<|end|><|start|>assistant<|channel|>final<|message|>use it",
            None,
            "use it",
        ),
        ("<|channel|>final<|message|>use it", None, "use it"),
        ("<think>never ended", None, ""),
        ("never ended", THINK, ""),
        ("the tag </thinking> is not a token here", None, None),
        ("use the oven", None, None),
        ("write <think> first, then the answer", None, None),
    ],
)
def test_the_thought_ends_where_the_answer_begins(raw, opened, answer):
    """Prevents a judge that ranks thoughts, and an answer that loses a part because it names a tag."""
    length = thought_length(raw, opened, TOKENS)
    assert (None if length is None else raw[length:].strip()) == answer


def test_a_thought_that_the_template_begins_is_recognised():
    """Prevents an unended thought without its opening mark from being taken for an answer."""
    assert opened_by_prompt("<|im_start|>assistant\n<think>\n") == THINK
    assert opened_by_prompt("<|im_start|>assistant\n<think>\n\n</think>\n\n") is None
    assert opened_by_prompt("<|im_start|>assistant\n") is None


@pytest.mark.parametrize("prefix", ["", "a", "ab", "abcd", "abcde"])
def test_the_tokens_of_a_prefix_cover_it(prefix):
    """Prevents a mark of several tokens from leaving a part of itself in the answer."""
    pieces = ["a", "bc", "", "d", "e"]
    count = tokens_of_prefix(range(5), lambda ids: "".join(pieces[each] for each in ids), prefix)
    assert "".join(pieces[:count]).startswith(prefix)
    assert count == 0 or not "".join(pieces[: count - 1]).startswith(prefix)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_chat_model("qwen3_thinking", tmp_path_factory.mktemp("qwen3"), steps=0)


@pytest.fixture(scope="module")
def tokenizer():
    parts = KINDS["qwen3_thinking"]
    return make_tokenizer(parts, parts.template)


def read(tokenizer, folder, text, thinking="strip", end="<|im_end|>", opened="<|im_start|>assistant\n"):
    """Return the answer of a sample in which each token has the log-prob -1."""
    ids = tokenizer(text + end, add_special_tokens=False)["input_ids"]
    prompt = tokenizer(opened, add_special_tokens=False)["input_ids"]
    reader = SampleReader(tokenizer, PolicySettings(thinking=thinking), str(folder))
    return reader.answer(prompt, ids, [-1.0] * len(ids), None)


def test_a_stripped_thought_is_kept_beside_its_answer(tokenizer, folder):
    """Prevents the loss of what was sampled, and a score in which the thought counts."""
    answer = read(tokenizer, folder, "<think>\nfix it\n</think>\n\nuse the oven")
    assert answer.text == "use the oven"
    assert answer.thought.text == "<think>\nfix it\n</think>"
    rest = tokenizer.decode(answer.token_ids[answer.thought.tokens :])
    assert rest == "\n\nuse the oven<|im_end|>"
    assert answer.thought.logprob_sum == -answer.thought.tokens
    (candidate,) = as_candidates(Prompt.of((Message(role="user", content="x"),)), [answer], ["o"], None)
    assert candidate.logprob_sum == -len(answer.token_ids)
    assert candidate.mean_logprob == -1.0
    assert candidate.answer_tokens == len(answer.token_ids) - answer.thought.tokens


def test_a_kept_thought_is_part_of_the_answer(tokenizer, folder):
    """Prevents `keep` from hiding a part of the answer."""
    answer = read(tokenizer, folder, "<think>\nfix it\n</think>\n\nuse the oven", thinking="keep")
    assert answer.text == "<think>\nfix it\n</think>\n\nuse the oven"
    assert answer.thought is None


@pytest.mark.parametrize(("end", "reason"), [("", "length"), ("<|im_end|>", "stop"), ("<|endoftext|>", "stop")])
def test_a_thought_that_never_ended_leaves_an_empty_answer(tokenizer, folder, end, reason):
    """Prevents fragments of thoughts from being ranked as answers."""
    answer = read(tokenizer, folder, "<think>\nfix the pump", end=end)
    assert (answer.text, answer.finish_reason, answer.thought.tokens) == ("", reason, len(answer.token_ids))
    assert distinct(as_candidates(Prompt.of((Message(role="user", content="x"),)), [answer], ["o"], None)) == []


def test_tokens_after_any_end_token_are_dropped(tokenizer, folder):
    """Prevents answers that go on after the second of two end tokens, and end tokens in the judge's view."""
    answer = read(tokenizer, folder, "use it<|endoftext|>bread bread")
    assert answer.text == "use it"
    assert answer.token_ids[-1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert answer.logprob_sum == -len(answer.token_ids)
