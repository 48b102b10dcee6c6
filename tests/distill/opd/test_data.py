"""Prompts from files: rows that are read, and rows that are refused."""

import json

import pytest

from cyclealign.config import checked_settings
from cyclealign.distill.opd import data
from cyclealign.distill.opd.config import Config
from cyclealign.errors import BadConfig, DistillError


def config(train, test, **sections):
    """Settings on two files with models of the user's own."""
    settings = {"teacher": {"model": "t"}, "student": {"model": "s"}, **sections}
    settings["data"] = {"prompts": str(train), **settings.get("data", {})}
    settings["evaluation"] = {"prompts": str(test), **settings.get("evaluation", {})}
    return checked_settings(settings, "test", Config)


def test_texts_and_conversations_are_read_once(tmp_path):
    """Prevents a prompt that is trained on twice, and turns that are lost."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    rows = [{"prompt": "a", "answer": "b"}, {"prompt": turns}, {"prompt": "a", "answer": "c"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = data.read(str(tmp_path / "rows.jsonl"))
    assert (first.messages, first.answer) == (({"role": "user", "content": "a"},), "b")
    assert (list(second.messages), second.answer) == (turns, None)
    (tmp_path / "rows.csv").write_text("prompt,answer\na,b\nc,\n")
    assert [each.answer for each in data.read(str(tmp_path / "rows.csv"))] == ["b", None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": ""}, r'line 1: "prompt" must be a text, or a list'),
        ({"prompt": [{"role": "user"}]}, "must be a text, or a list of turns"),
        ({"prompt": "a", "answer": 3}, '"answer" must be a text'),
        (["a"], "expected an object"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, message):
    """Prevents a traceback, or an empty prompt that is trained on."""
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(DistillError, match=message):
        data.read(str(tmp_path / "rows.jsonl"))


def test_prompts_of_both_splits_and_missing_answers_are_refused(tmp_path, prompt_files):
    """Prevents measures on prompts that were trained on, and a training without the answers that it needs."""
    train, test = prompt_files
    with pytest.raises(DistillError, match="16 prompts are in both"):
        data.load(config(train, train))
    loaded = data.load(config(train, test, data={"max_prompts": 3}))
    assert (len(loaded.training), len(loaded.evaluation)) == (3, 8)
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"prompt": "No answer?"}))
    with pytest.raises(DistillError, match="no answer to the prompt 'No answer"):
        data.load(config(bare, test, data={"answers": "given"}))
    assert len(data.load(config(bare, test, data={"answers": "given"}, arms=["opd"])).training) == 1


def test_contradictory_settings_are_refused():
    """Prevents a run that fails, or ignores a setting, after its training."""
    for settings, message in (
        ({"data": {"prompts": "mine.jsonl"}}, "either both are `demo`"),
        ({"teacher": {"model": "mine"}}, "either both are `demo`"),
        ({"data": {"prompts": "a"}, "evaluation": {"prompts": "b"}}, "need the prompts `demo`"),
        ({"data": {"answers": "given"}}, "have no answers"),
        ({"arms": ["opd", "opd"]}, "twice"),
        ({"training": {"beta": 1.5}}, "less than or equal to 1"),
    ):
        with pytest.raises(BadConfig, match=message):
            checked_settings(settings, "test", Config)
