"""Prompts to align on: each format, and what is refused."""

import pytest

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import import read_source, split_of
from tests.support.paths import SHARED
from tests.support.prompt_files import written

HH_RLHF = SHARED / "data" / "hh_rlhf" / "harmless-base" / "test.jsonl.gz"


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
        ('{"prompt": "\\ud800"}', "line 2: .*half a character"),
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


def test_all_bad_rows_are_named_at_once_and_nothing_is_imported(tmp_path):
    """Prevents a file of many bad rows from being corrected one run at a time."""
    rows = [{"prompt": "fine"}, *[{"text": number} for number in range(9)]]
    with pytest.raises(BadPrompts, match="9 of 10 rows") as problem:
        read_source(written(tmp_path, *rows))
    lines = str(problem.value).splitlines()
    assert "--skip-bad" in lines[0]
    assert ["line 2" in lines[1], "line 6" in lines[5], lines[6]] == [True, True, "and 4 more"]


def test_a_problem_of_consecutive_rows_is_explained_once(tmp_path):
    """Prevents the one sentence that matters, the columns found, from being buried in its repetitions."""
    with pytest.raises(BadPrompts) as problem:
        read_source(written(tmp_path, {"text": "a"}, {"text": "b"}, "{oops", {"text": "c"}))
    lines = str(problem.value).splitlines()[1:]
    assert ["found: text" in line for line in lines] == [True, False, False, True]
    assert lines[1].endswith("line 2: the same.")
    assert "not JSON" in lines[2]


def test_bad_rows_are_skipped_and_counted_on_request_only(tmp_path):
    """Prevents rows that vanish without a word."""
    source = written(tmp_path, {"prompt": "fine"}, "{oops", {"prompt": "fine"}, {"prompt": None})
    found = read_source(source, skip_bad=True)
    assert (len(found.prompts), found.rows, found.skipped) == (1, 4, 2)
    assert ["line 2: not JSON" in found.bad_rows[0], "line 4" in found.bad_rows[1]] == [True, True]
    with pytest.raises(BadPrompts, match=r"no prompts.*bad rows skipped: 1"):
        read_source(written(tmp_path, {"text": "x"}), skip_bad=True)


def test_prompts_with_ranked_answers_are_held_out_on_request(tmp_path):
    """Prevents labelled lists from being lost in silence: most of a file's prompts are for training."""
    rows = [{"prompt": f"q{number}", "chosen": "good", "rejected": "bad"} for number in range(20)]
    source = written(tmp_path, *rows, {"prompt": "without answers"})
    by_hash = read_source(source, 0.2)
    assert by_hash.left_out == 20 - len(by_hash.labelled) > 0
    held_out = read_source(source, 0.0, hold_out_labelled=True)
    assert (len(held_out.labelled), held_out.left_out) == (20, 0)
    assert [split for _, split in held_out.prompts] == [*["held_out"] * 20, "train"]


def test_the_ids_of_prompts_of_earlier_imports_stay(tmp_path):
    """Prevents a second import after an upgrade from training on every prompt again, and from moving the split."""
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": " u "}]
    dialogue = "\n\nHuman: a\n\nAssistant: b"
    rows = [{"prompt": " p ", "system": "s", "question": "q"}, {"messages": turns, "prompt": "x"}]
    found = read_source(written(tmp_path, *rows, {"prompt": "z", "chosen": dialogue, "rejected": dialogue}))
    assert [prompt.id for prompt, _ in found.prompts] == [
        "a6a02dfe5c73df1c73f395d1",
        "89bdca5cf410d1496ea099ca",
        "f60be88e6a738a9cf3d78576",
    ]
    assert found.unread == ("prompt", "question", "system")


def test_a_named_column_is_the_prompt_whatever_else_the_row_has(tmp_path):
    """Prevents a translated or cleaned column from being passed over for the original."""
    row = {"prompt": "old", "question": "older", "clean": "new", "chosen": "good", "rejected": "bad"}
    found = read_source(written(tmp_path, row), 1.0, column="clean")
    assert found.prompts[0][0].text == "new"
    assert found.labelled[0].answers == ("good", "bad")
    turns = [{"role": "user", "content": "in turns"}]
    assert read_source(written(tmp_path, {"dialog": turns}), column="dialog").prompts[0][0].text == "in turns"
    with pytest.raises(BadPrompts, match=r"no column 'clear'; the columns are: prompt"):
        read_source(written(tmp_path, {"prompt": "x"}), column="clear")


@pytest.mark.skipif(not (SHARED / "data" / "rewardbench_bon16").is_dir(), reason="no best-of-16 answers")
def test_answers_without_ranks_are_not_read_as_ranked():
    """Prevents the order in which answers were sampled from being taken for a ranking."""
    (path,) = (SHARED / "data" / "rewardbench_bon16").glob("*.jsonl.gz")
    found = read_source(str(path))
    assert len(found.prompts) > 700
    assert (len(found.labelled), "responses" in found.unread) == (0, True)


@pytest.mark.skipif(not (SHARED / "data" / "xstest").is_dir(), reason="no XSTest")
def test_a_real_table_is_read():
    """Prevents a table with quoted cells and several columns from losing rows."""
    found = read_source(str(SHARED / "data" / "xstest" / "xstest_prompts.csv"))
    assert (len(found.prompts), "type" in found.unread) == (450, True)
