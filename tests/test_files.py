"""Folders that appear whole or not at all."""

import socket
import subprocess
import sys

import pytest

from cyclealign.files import appearing_folder


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
    with appearing_folder(tmp_path / "round-1"), appearing_folder(tmp_path / "round-1"):
        assert len(list(tmp_path.glob(".round-1-*"))) == 3
    assert {each.name for each in tmp_path.iterdir()} == {"round-1", others, elsewhere.name}
