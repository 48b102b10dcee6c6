"""Folders that appear whole or not at all, JSON Lines, and the home folder."""

import gzip
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cyclealign import files
from cyclealign.errors import BadPrompts
from cyclealign.files import appearing_folder, home, json_lines, keep_folder, locate_weights
from cyclealign.processes import machine_name


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    """Prevents half an adapter from being taken for one."""
    final = tmp_path / "runs" / "round-1"

    def interrupted():
        with appearing_folder(final) as made:
            (made / "weights").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(final.parent.iterdir()) == []
    for text in ("first", "second"):
        with appearing_folder(final) as made:
            (made / "weights").write_text(text)
            assert text == "second" or not final.exists()
    assert [each.name for each in final.parent.iterdir()] == ["round-1"]
    assert (final / "weights").read_text() == "second"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    """Prevents a disk that fills with the weights of killed runs, and a run that removes what another one writes."""
    kill = (
        "import os, pathlib, sys\nfrom cyclealign.files import appearing_folder\n"
        "with appearing_folder(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)"
    )
    for name in ("round-1", "round-10"):
        subprocess.run([sys.executable, "-c", kill, str(tmp_path / name)], check=False)
    left, others = sorted(each.name for each in tmp_path.iterdir())
    assert (left.startswith(".round-1-"), others.startswith(".round-10-")) == (True, True)
    elsewhere = tmp_path / left.replace(socket.gethostname(), "another-machine")
    elsewhere.mkdir()
    container = tmp_path / left.replace(machine_name(), f"{socket.gethostname()}~0badcafe")
    container.mkdir()
    with appearing_folder(tmp_path / "round-1"), appearing_folder(tmp_path / "round-1"):
        assert len(list(tmp_path.glob(".round-1-*"))) == 4
    assert {each.name for each in tmp_path.iterdir()} == {"round-1", others, elsewhere.name, container.name}


def test_json_lines_are_counted_with_blank_ones_and_split_at_line_ends_only(tmp_path):
    """Prevents a text with a line separator from being cut in two, and a message that names another line."""
    text = '\ufeff{"a": "x\u2028y"}\r\n\n[1]\n'
    path, packed = tmp_path / "some.jsonl", tmp_path / "some.jsonl.gz"
    path.write_bytes(text.encode())
    packed.write_bytes(gzip.compress(text.encode()))
    for file in (path, packed):
        assert list(json_lines(file)) == [(f"{file}, line 1", {"a": "x\u2028y"}), (f"{file}, line 3", [1])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\n\n{oops", r"some\.jsonl, line 3: not JSON \(Expecting"),
        (b'{"a": {"b": 1, "b": 2}}', r"line 1: the key 'b' is given twice"),
        (b'1\n{"a": ["x\\u0000"]}', r"line 2: the line holds a NUL character .* Remove it"),
        (b'{"\\ud83d": 1}', "line 1: the line holds half a character"),
        (b"[1] [2]", "line 1: not JSON .text after the value"),
        (b"1\n\xff\xfe", r"some\.jsonl: cannot be read as text"),
    ],
)
def test_a_bad_line_raises_the_error_of_the_caller_with_file_and_line(tmp_path, content, message):
    """Prevents a bare decoding error, which names neither the file nor the line, from reaching the user."""
    (tmp_path / "some.jsonl").write_bytes(content)
    with pytest.raises(BadPrompts, match=message):
        list(json_lines(tmp_path / "some.jsonl", BadPrompts))
    with pytest.raises(ValueError, match=r"none\.jsonl: cannot be read"):
        list(json_lines(tmp_path / "none.jsonl"))


def test_an_empty_variable_is_an_unset_one(tmp_path, monkeypatch):
    """Prevents models and reports from being strewn over the current folder while the database is elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYCLEALIGN_HOME", " ")
    assert home() == tmp_path / ".cyclealign"


def test_a_kept_folder_replaces_none(tmp_path):
    """Prevents weights that a finished round names from being overwritten by a run that comes late."""

    def keep(text):
        made = tmp_path / f"made-{text}"
        made.mkdir()
        (made / "weights").write_text(text)
        return keep_folder(made, tmp_path / "round-1", lambda path: (path / "weights").read_text() == text)

    assert [keep(text).name for text in ("first", "second", "second", "first")] == [
        *("round-1", "round-1-2", "round-1-2", "round-1"),
    ]
    assert (tmp_path / "round-1" / "weights").read_text() == "first"


def test_weights_are_found_where_their_row_says_or_by_name_or_by_hash(tmp_path, monkeypatch):
    """Prevents weights of another machine, or of a folder that was moved, from counting as missing."""
    shared, digest = tmp_path / "shared", "abcdef012345" + "0" * 52
    monkeypatch.setenv("CYCLEALIGN_ADAPTERS", str(shared))
    stored = tmp_path / "elsewhere" / "trial" / f"round-1-{digest[:12]}"
    assert locate_weights(str(stored), digest) == str(stored)
    renamed = shared / "other" / f"round-1-{digest[:12]}-2"
    renamed.mkdir(parents=True)
    assert locate_weights(str(stored), digest) == str(renamed)
    assert locate_weights(str(stored), "9" * 64) == str(stored)
    named = shared / "trial" / stored.name
    named.mkdir(parents=True)
    assert locate_weights(str(stored), digest) == str(named)
    stored.mkdir(parents=True)
    assert locate_weights(str(stored), digest) == str(stored)


def test_a_kept_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a row could name weights whose bytes were never written."""
    steps: list[str] = []
    rename, flush = Path.rename, files.flush

    def noted_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    def noted_flush(path: Path) -> None:
        steps.append(path.name)
        flush(path)

    monkeypatch.setattr(Path, "rename", noted_rename)
    monkeypatch.setattr(files, "flush", noted_flush)
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "weights").write_text("1")
    (made / "deep" / "config").write_text("2")
    keep_folder(made, tmp_path / "round-1", lambda path: True)
    assert steps == ["deep", "config", "weights", "made", "rename", tmp_path.name]
