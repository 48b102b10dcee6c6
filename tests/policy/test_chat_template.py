"""Chat templates: system text, turns, variables, dates, and models without a template."""

import logging

import pytest
from transformers.utils import chat_template_utils

from cyclealign.config import PolicySettings
from cyclealign.errors import BadConfig, PolicyError
from cyclealign.policy import chat_template
from cyclealign.policy.chat_template import ChatTemplate
from cyclealign.records import Message, Prompt
from tests.support.chat_models import GEMMA2, GEMMA3, KINDS, make_tokenizer

SYSTEM = Message(role="system", content="be safe")
QUESTION = Message(role="user", content="how do i bake bread")
# As Mistral 7B v0.1's: it writes the user's and the assistant's turns and drops all others.
SILENT = "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}"


def template_of(kind, text=None, **settings):
    parts = KINDS[kind]
    return ChatTemplate(make_tokenizer(parts, text or parts.template), PolicySettings(**settings))


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch):
    monkeypatch.setattr(chat_template, "_logged", set())


@pytest.mark.parametrize("kind", KINDS)
def test_the_system_prompt_reaches_every_template_once(kind):
    """Prevents a system prompt that a template rejects, drops or repeats."""
    text = template_of(kind, system_prompt="be safe").render([QUESTION])
    assert text.count("be safe") == 1
    assert text.index("be safe") < text.index("how do i bake bread")


def test_a_template_without_a_system_role_gets_the_system_text_in_the_first_user_turn(caplog):
    """Prevents a run that stops at Gemma 2's exception, and an adaptation that is made without a word."""
    gemma = template_of("gemma2_no_system")
    answer, again = Message(role="assistant", content="use the oven"), Message(role="user", content="and then")
    with caplog.at_level(logging.WARNING):
        texts = [gemma.render([SYSTEM, QUESTION, answer, again]) for _ in range(3)]
    assert texts[0] == (
        "<bos><start_of_turn>user\nbe safe\n\nhow do i bake bread<end_of_turn>\n<start_of_turn>model\nuse the oven"
        "<end_of_turn>\n<start_of_turn>user\nand then<end_of_turn>\n<start_of_turn>model\n"
    )
    assert [record.message for record in caplog.records if "has no system role" in record.message] == [
        f"The chat template of {gemma._name} {chat_template.NO_SYSTEM_ROLE}."
    ]


def test_a_template_that_drops_the_system_text_gets_it_in_the_first_user_turn():
    """Prevents a system text that no model ever sees: such templates raise no error."""
    text = template_of("llama", SILENT, system_prompt="be safe").render([QUESTION])
    assert text == "[INST] be safe\n\nhow do i bake bread [/INST]"


def test_a_prompts_own_system_message_takes_precedence():
    """Prevents two system messages in one conversation."""
    text = template_of("qwen2", system_prompt="say no").render([SYSTEM, QUESTION])
    assert "be safe" in text
    assert "say no" not in text


@pytest.mark.parametrize("source", [GEMMA2, GEMMA3])
def test_turns_of_one_role_are_joined_where_a_template_demands_alternation(source):
    """Prevents a prompt set with two user turns in a row from being unusable with half of the models."""
    text = template_of("gemma2_no_system", source).render(
        [SYSTEM, QUESTION, Message(role="user", content="use a pump")]
    )
    assert text.count("<start_of_turn>user") == 1
    assert "be safe\n\nhow do i bake bread\n\nuse a pump<end_of_turn>" in text


def test_turns_are_left_alone_where_the_template_accepts_them():
    """Prevents prompts of existing runs from changing."""
    text = template_of("qwen2").render([QUESTION, QUESTION])
    assert text.count("<|im_start|>user") == 2


def test_a_conversation_that_fits_no_version_is_reported_with_its_words():
    """Prevents a template's exception without the prompt that caused it."""
    opening = Message(role="assistant", content="how can i help")
    with pytest.raises(PolicyError, match=r"must alternate.*It begins: 'how do i bake bread'"):
        template_of("gemma2_no_system").render([opening, QUESTION])


def test_template_variables_reach_the_template():
    """Prevents `enable_thinking = false` from having no effect."""
    off = template_of("qwen3_thinking", chat_template_kwargs={"enable_thinking": False}).render([QUESTION])
    assert off.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not template_of("qwen3_thinking").render([QUESTION]).endswith("</think>\n\n")


def test_a_template_variable_without_effect_is_refused():
    """Prevents a misspelt variable, or one of another model, from being ignored."""
    with pytest.raises(BadConfig, match="'enable_thinking' is not used"):
        template_of("llama", chat_template_kwargs={"enable_thinking": False}).render([QUESTION])
    with pytest.raises(ValueError, match="tokenize cannot be set"):
        PolicySettings(chat_template_kwargs={"tokenize": False})


@pytest.mark.parametrize("kind", ["llama", "llama_dated", "gemma2_no_system", "gemma3_multimodal"])
def test_bos_is_not_doubled(kind):
    """Prevents a second BOS: the template writes one, and the tokenizer adds one to plain text."""
    template = template_of(kind)
    ids, bos = template.render_ids([QUESTION]), template._tokenizer.bos_token_id
    assert ids.count(bos) == 1
    assert ids[0] == bos
    assert template._tokenizer("bread")["input_ids"][0] == bos


def test_a_file_replaces_the_template_or_gives_one_to_a_model_without(tmp_path):
    """Prevents base models, which have no template, from being unusable from the hub."""
    file = tmp_path / "questions.jinja"
    file.write_text("{% for m in messages %}Question: {{ m['content'] }}\n{% endfor %}Answer:")
    template = template_of("llama", chat_template=str(file))
    template._tokenizer.chat_template = None
    assert template.render([QUESTION]) == "Question: how do i bake bread\nAnswer:"
    with pytest.raises(PolicyError, match=r"has no chat template.*policy\.chat_template"):
        ChatTemplate(template._tokenizer).render([QUESTION])
    with pytest.raises(BadConfig, match=r"policy\.chat_template: .*cannot be read"):
        template_of("llama", chat_template=str(tmp_path / "none.jinja")).render([QUESTION])


class Clock:
    """Replaces ``datetime`` for templates."""

    day = "30 Nov 2026"

    @classmethod
    def now(cls):
        return cls

    @classmethod
    def strftime(cls, form):
        return cls.day


def test_stored_ids_are_used_after_midnight(monkeypatch):
    """Prevents training and scoring on another prompt than was answered: the template prints the date."""
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    template = template_of("llama_dated")
    prompt = Prompt.of((QUESTION,))
    before = template.ids(prompt)
    monkeypatch.setattr(Clock, "day", "01 Dec 2026")
    assert template.ids(prompt) != before
    assert template.ids(Prompt(prompt.id, prompt.messages, tuple(before))) == before


CALL = {"type": "function", "function": {"name": "bake", "arguments": {"minutes": 40}}}
CALLING: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT: Message = {"role": "tool", "content": 'said "done"'}
# A small ChatML with a form for calls, as Qwen's.
WITH_TOOLS = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% for call in m.get('tool_calls') or [] %}"
    "{{ call['function'] | tojson }}{% endfor %}</>{% endfor %}<assistant>"
)


@pytest.mark.parametrize("kind", KINDS)
def test_tool_calls_and_results_reach_every_template(kind):
    """Prevents a template without tools from dropping the call: the model would answer a result without its call."""
    text = template_of(kind).render([QUESTION, CALLING, RESULT])
    assert text.index("how do i bake bread") < text.index("bake(") < text.index('said "done"')


def test_a_template_with_a_form_for_tool_calls_keeps_it(caplog):
    """Prevents the model's own form of calls from being replaced by text."""
    text = template_of("llama", WITH_TOOLS).render([QUESTION, CALLING, RESULT])
    assert '<assistant>{"name": "bake", "arguments": {"minutes": 40}}</><tool>said "done"</>' in text
    assert chat_template.NO_TOOLS not in caplog.text
