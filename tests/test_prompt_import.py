"""Prompts to align on: each format, and what is refused."""

import gzip
import json

import pytest

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import import read_source, split_of
from tests.support.paths import SHARED

HH_RLHF = SHARED / "data" / "hh_rlhf" / "harmless-base" / "test.jsonl.gz"


def written(tmp_path, *rows, name="p.jsonl"):
    path = tmp_path / name
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def test_texts_and_messages_are_read_and_equal_ones_once(tmp_path):
    """Prevents a prompt that stands twice in a file from being trained on twice as often."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    found = read_source(written(tmp_path, {"prompt": " Hi "}, {"prompt": "Hi"}, {"messages": turns}))
    assert [len(prompt.messages) for prompt, _ in found.prompts] == [1, 2]
    assert found.prompts[0][0].text == "Hi"


def test_hh_rlhf_gives_prompts_and_labelled_pairs_on_held_out_prompts_only(tmp_path):
    """Prevents the judge's accuracy from being measured on prompts that are trained on."""
    rows = [
        {"chosen": f"\n\nHuman: q{n}\n\nAssistant: good", "rejected": f"\n\nHuman: q{n}\n\nAssistant: bad"}
        for n in range(40)
    ]
    found = read_source(written(tmp_path, *rows, name="hh.jsonl.gz"), held_out_share=0.3)
    held_out = {prompt.id for prompt, split in found.prompts if split == "held_out"}
    assert len(found.prompts) == 40
    assert 0 < len(held_out) < 40
    assert {each.prompt.id for each in found.labelled} == held_out
    assert all(each.answers == ("good", "bad") for each in found.labelled)


def test_a_dialogue_keeps_its_turns(tmp_path):
    chosen = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d\n\nAssistant: e"
    found = read_source(written(tmp_path, {"chosen": chosen, "rejected": chosen}))
    assert [(m["role"], m["content"]) for m in found.prompts[0][0].messages] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


def test_a_prompt_never_changes_sides(tmp_path):
    """Prevents a held-out prompt from being trained on after a second import."""
    one = read_source(written(tmp_path, *[{"prompt": f"p{n}"} for n in range(50)]))
    two = read_source(written(tmp_path, *[{"prompt": f"p{n}"} for n in range(49, -1, -1)]))
    assert {p.id: s for p, s in one.prompts} == {p.id: s for p, s in two.prompts}
    assert all(split_of(prompt, 0.0) == "train" for prompt, _ in one.prompts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{oops", r"line 2: not JSON \(Expecting"),
        ("[1]", "line 2: expected an object"),
        ('{"prompt": "\\ud800"}', "line 2: half a character"),
        ({"prompt": "  "}, "line 2: expected a non-empty 'prompt'"),
        ({"text": "hi"}, "line 2: .*found: text"),
        ({"messages": []}, "line 2: 'messages'"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "line 2: each turn"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "line 2: the last turn"),
        ({"chosen": "hello", "rejected": "world"}, "line 2: a dialogue"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, row, message):
    with pytest.raises(BadPrompts, match=message):
        read_source(written(tmp_path, {"prompt": "fine"}, row))


def test_a_missing_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(BadPrompts, match="no such file"):
        read_source(str(tmp_path / "none.jsonl"))
    with pytest.raises(BadPrompts, match="contains no prompts"):
        read_source(written(tmp_path, ""))


def test_a_data_set_that_cannot_be_fetched_is_named(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadPrompts, match="'nobody/nothing' is neither a local file"):
        read_source("nobody/nothing")


@pytest.mark.skipif(not HH_RLHF.is_file(), reason=f"no HH-RLHF at {HH_RLHF}")
def test_all_of_hh_rlhf_is_read():
    """Prevents a strict parser from refusing rows of the real file: two turns of one speaker in a row."""
    source = read_source(str(HH_RLHF))
    assert len(source.prompts) == 2310
    assert len(source.labelled) == 240
    assert all(prompt.messages[-1]["role"] == "user" for prompt, _ in source.prompts)
