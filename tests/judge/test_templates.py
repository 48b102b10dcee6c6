"""Prompt templates: checks, versions, sandbox; text from models is data and never compiled."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.errors import BadTemplate
from cyclealign.judge.templates import (
    LabelledAnswer,
    ShownDemonstration,
    ShownQuestion,
    load_demonstrations,
    load_template,
    rank_messages,
    repair_text,
)
from tests.support.paths import PROMPTS

GOOD = """
{% block system %}Rank. {% for d in demonstrations %}{{ d.question }}{% endfor %}{% endblock %}
{% block user %}{{ fence }} {{ question }} {% for a in answers %}{{ a.label }}: {{ a.text }}{% endfor %}{% endblock %}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "rank.jinja").write_text(text)
    return folder


def rendered(folder: Path, question: str, *texts: str) -> str:
    answers = [LabelledAnswer(f"L{n}", text) for n, text in enumerate(texts)]
    messages = rank_messages(load_template(folder, "rank"), ShownQuestion(question), answers, "fence", [], "other")
    return messages[-1]["content"]


def test_the_shipped_template_loads():
    """Prevents a release whose own template fails its checks."""
    assert load_template(PROMPTS, "rank").hash


def test_an_edit_takes_effect_without_a_restart_and_has_another_version(tmp_path):
    """Prevents labels of an edited template from being stored under the old version."""
    before = load_template(written(tmp_path, GOOD), "rank")
    after = load_template(written(tmp_path, GOOD.replace("Rank.", "Order.")), "rank")
    assert before.hash != after.hash
    assert load_template(written(tmp_path, GOOD), "rank").hash == before.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("{{ question }}", "{{ quesiton }}"),
            r"rank\.jinja, line [1-9]\d*: unknown variable 'quesiton'\. Did you mean 'question'\?",
        ),
        (GOOD.replace("Rank.", "\n\n{{ x }}"), r"rank\.jinja, line 4: unknown variable 'x'\. It may use: answers, "),
        (GOOD.replace("{{ question }}", ""), r"rank\.jinja: the variable 'question' or 'turns' is missing"),
        (GOOD.replace("{{ fence }}", ""), r"rank\.jinja: the variable 'fence' is missing"),
        (GOOD.replace("block user", "block usr"), r"rank\.jinja: no block 'user'"),
        (GOOD + "\nBe fair.", r"rank\.jinja: 'Be fair\.' is outside the blocks"),
        (GOOD.replace("{% endfor %}", "", 1), r"rank\.jinja, line \d+"),
        ("x" * 60_000, "longer than"),
    ],
)
def test_an_invalid_template_is_rejected_by_file_and_variable(tmp_path, text, message):
    """Prevents a round of paid calls in which the judge does not see the answers."""
    with pytest.raises(BadTemplate, match=message):
        load_template(written(tmp_path, text), "rank")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{{ a.txt }}", r"rank\.jinja, line 3: unknown part '\.txt'\. Did you mean 'text'\?$"),
        ("{{ a.zzz }}", r"rank\.jinja, line 3: unknown part '\.zzz'\. There are: label, text\."),
        ("{{ fence.zzz.y }}", r"rank\.jinja, line 3: .*'zzz'"),
    ],
)
def test_a_misspelt_part_of_an_answer_is_named_by_line(tmp_path, wrong, message):
    """Prevents a message that names a class of this project instead of the line to correct."""
    with pytest.raises(BadTemplate, match=message):
        rendered(written(tmp_path, GOOD.replace("{{ a.text }}", wrong)), "q", "a", "b")


def test_a_missing_template_is_named(tmp_path):
    """Prevents a bare FileNotFoundError that names no setting."""
    with pytest.raises(BadTemplate, match=r"rank\.jinja: the template cannot be read"):
        load_template(tmp_path, "rank")


@pytest.mark.parametrize(
    "attack", ["{{ ''.__class__.__mro__ }}", "{% for x in ().__class__.__subclasses__() %}{% endfor %}"]
)
def test_templates_run_in_a_sandbox(tmp_path, attack):
    """Prevents an edited template from reaching the interpreter."""
    folder = written(tmp_path, GOOD.replace("Rank.", attack))
    with pytest.raises(BadTemplate):
        rendered(folder, "q", "a", "b")


@pytest.mark.parametrize("text", ["{{ fence }}", "{% raw %}", "{# gone #}", "{{", "a { b } c", "<script>"])
def test_braces_in_prompts_and_answers_are_data(text):
    """Prevents a model's text from being rendered as a template, or lost."""
    shown = rendered(PROMPTS, f"question {text}", f"answer {text}", "plain")
    assert f"question {text}" in shown
    assert f"answer {text}" in shown


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), min_size=1))
def test_any_text_reaches_the_judge_unchanged(text):
    """Prevents escaping or trimming from changing the answers that are ranked."""
    assert text in rendered(PROMPTS, "q", f"<{text}>", "other")


def test_demonstrations_come_before_the_answers():
    """Prevents a layout that prompt caches cannot serve, and answers that imitate demonstrations."""
    example = ShownDemonstration("an example", (LabelledAnswer("A", "x"), LabelledAnswer("B", "y")), ("B", "A"))
    template = load_template(PROMPTS, "rank")
    system, user = rank_messages(template, ShownQuestion("q"), [LabelledAnswer("C", "z")], "f1", [example], "f2")
    assert "an example" in system["content"]
    assert '{"ranking": ["B", "A"]}' in system["content"]
    assert "an example" not in user["content"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"question": "q"}',
        '{"question": "q", "answers": ["a", "a"]}',
        '{"question": 1, "answers": ["a", "b"]}',
    ],
)
def test_an_invalid_demonstration_is_named_by_line(tmp_path, line):
    """Prevents a typo in the file from silently dropping a demonstration."""
    path = tmp_path / "demonstrations.jsonl"
    path.write_text('{"question": "q", "answers": ["a", "b"]}\n' + line)
    with pytest.raises(BadTemplate, match=r"demonstrations\.jsonl, line 2"):
        load_demonstrations(path)


def test_a_repair_names_the_problem_and_the_labels_with_or_without_its_block(tmp_path):
    """Prevents an empty repair request from a template without the block."""
    for template in (load_template(PROMPTS, "rank"), load_template(written(tmp_path, GOOD), "rank")):
        words = repair_text(template, "The ranking leaves out: {{ 7 * 7 }}.", ["K7", "M3"])
        assert "leaves out: {{ 7 * 7 }}" in words
        assert "K7, M3" in words


def test_reasons_are_requested_only_if_enabled():
    """Prevents paying for reasons that the settings switch off."""
    template = load_template(PROMPTS, "rank")
    asked = [
        rank_messages(template, ShownQuestion("q"), [LabelledAnswer("C", "z")], "f1", [], "f2", wanted)[0]["content"]
        for wanted in (False, True)
    ]
    assert ["reasons" in text for text in asked] == [False, True]
