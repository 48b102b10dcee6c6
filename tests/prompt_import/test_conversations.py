"""Turns: names of roles, parts of content, tool calls, and the end of a conversation."""

import pytest

from cyclealign.errors import BadPrompts
from cyclealign.records import Message, Prompt, turn_text
from tests.support.prompt_files import read_one, turns_of

USER = {"role": "user", "content": "hi"}


def test_roles_of_common_data_sets_are_read(tmp_path):
    """Prevents ShareGPT's and OpenAI's files from being refused, and 'gpt' from reaching a chat template."""
    spoken = [("system", "s"), ("human", "a"), ("gpt", "b"), ("Human", "c")]
    turns = [{"from": speaker, "value": words} for speaker, words in spoken]
    assert turns_of(read_one(tmp_path, {"conversations": turns})) == [
        [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    ]
    developer = {"messages": [{"role": "developer", "content": "be terse"}, USER]}
    assert turns_of(read_one(tmp_path, developer)) == [[("system", "be terse"), ("user", "hi")]]


def test_a_system_column_goes_before_the_turns_unless_they_have_their_own(tmp_path):
    """Prevents ShareGPT's system prompt from being dropped, or from standing twice."""
    asked = [{"from": "human", "value": "hi"}]
    assert turns_of(read_one(tmp_path, {"system": "be kind", "conversations": asked})) == [
        [("system", "be kind"), ("user", "hi")]
    ]
    own = [{"from": "system", "value": "own"}, *asked]
    assert turns_of(read_one(tmp_path, {"system": "be kind", "conversations": own})) == [
        [("system", "own"), ("user", "hi")]
    ]
    assert turns_of(read_one(tmp_path, {"system": " ", "conversations": asked})) == [[("user", "hi")]]
    assert turns_of(read_one(tmp_path, {"system_prompt": "s", "question": "q"})) == [[("system", "s"), ("user", "q")]]


def test_answers_at_the_end_and_empty_system_turns_are_dropped_and_counted(tmp_path):
    """Prevents the policy from answering after an answer, and turns that vanish without a word."""
    turns = [{"role": "system", "content": ""}, USER, {"role": "assistant", "content": "yo"}]
    found = read_one(tmp_path, {"messages": turns})
    assert turns_of(found) == [[("user", "hi")]]
    assert sorted(found.remarks.values()) == [1, 1]
    assert any("Answers of the assistant" in words for words in found.remarks)


def test_text_parts_are_joined_and_other_parts_refused(tmp_path):
    """Prevents a question about an image from being asked without the image."""
    parts = [{"type": "text", "text": "a", "image_url": None}, {"type": "text", "text": "b"}]
    assert turns_of(read_one(tmp_path, {"messages": [{"role": "user", "content": parts}]})) == [[("user", "a\nb")]]
    image = [*parts, {"type": "image_url", "image_url": {"url": "data:"}}]
    with pytest.raises(BadPrompts, match=r"line 1: .*'image_url'; only text"):
        read_one(tmp_path, {"messages": [{"role": "user", "content": image}]})


@pytest.mark.parametrize(
    "calling",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
    ],
)
def test_tool_calls_reach_the_chat_template_with_their_arguments_as_an_object(tmp_path, calling):
    """Prevents arguments that are JSON text from being quoted twice by the template."""
    turns = [USER, calling, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    call, result = read_one(tmp_path, {"messages": turns}).prompts[0][0].messages[1:]
    assert call == Message(
        role="assistant",
        content="",
        tool_calls=[{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
    )
    assert result == Message(role="tool", content="42", tool_call_id="1")


def test_the_judge_reads_tool_calls(tmp_path):
    """Prevents a judge from ranking answers to a conversation without its calls."""
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": "ä"}}}
    calling = Message(role="assistant", content="", tool_calls=[call])
    asked = Prompt.of((Message(role="user", content="w?"), calling, Message(role="tool", content="42")))
    assert asked.text == 'user: w?\n\nassistant: f({"x": "ä"})\n\ntool: 42'
    assert turn_text(Message(role="assistant", content="Wait.", tool_calls=[call])) == 'Wait.\nf({"x": "ä"})'


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([{"role": "user", "content": None}], "a turn of the user .* no content"),
        ([{"content": "hi"}], "found no role"),
        ([{"role": "robot", "content": "hi"}], "found the role 'robot'"),
        (["hi"], "must be an object"),
        ([USER, {"role": "user", "content": " "}], "last turn must be a non-empty"),
        ([{"role": "system", "content": "s"}], "last turn must be"),
        ([{"role": "user", "content": 5}], "must be a text; found a number"),
        ([{"role": "user", "content": "a\x00"}], r"NUL character \(at character 2\).*Remove it"),
        ([USER, {"role": "assistant", "tool_calls": [{"function": {}}]}, USER], "needs a 'function' with a 'name'"),
        ([USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"x": "\x00"}}]}, USER], "NUL"),
        ([USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}, USER], "not JSON"),
    ],
)
def test_a_turn_that_cannot_be_used_is_refused_by_line_with_the_fix(tmp_path, turns, message):
    """Prevents half a conversation from being stored, or a chat template from failing in the middle of a round."""
    with pytest.raises(BadPrompts, match=f"line 1: .*{message}"):
        read_one(tmp_path, {"messages": turns})


def test_the_text_of_a_dialogue_stays_one_turn_with_a_remark(tmp_path):
    """Prevents 'Human:' and 'Assistant:' inside a user's turn from going unnoticed until the answers are read."""
    found = read_one(tmp_path, {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"})
    assert (len(found.prompts[0][0].messages), sum(found.remarks.values())) == (1, 1)


def test_keys_of_turns_that_are_not_read_are_named(tmp_path):
    """Prevents a thought or a weight beside a turn from being dropped without a word."""
    found = read_one(tmp_path, {"messages": [{**USER, "weight": 0, "name": None}]})
    assert list(found.remarks) == ["Turns with 'weight', which is not read"]
