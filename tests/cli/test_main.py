"""What the command line says at its end."""

import sys

import pytest

from cyclealign.cli import main


def test_an_interrupted_run_says_that_it_can_go_on(monkeypatch, capsys):
    """Prevents a run that was stopped by Ctrl-C from leaving its user without a word on what is kept."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "run_align", interrupted)
    monkeypatch.setattr(sys, "argv", ["cyclealign", "demo"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130
    assert "The same command goes on" in capsys.readouterr().out
