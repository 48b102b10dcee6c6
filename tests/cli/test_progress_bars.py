"""Live progress: bars in a terminal, plain lines anywhere else."""

import io
import logging

from rich.console import Console

from cyclealign.cli.progress_bars import live_progress
from cyclealign.progress import announce, report_progress


def shown(terminal):
    """What two steps, a heading and a warning leave on a console."""
    output = io.StringIO()
    with live_progress(Console(file=output, force_terminal=terminal, width=80)):
        announce("Experiment mine, round 1")
        for done in range(3):
            report_progress("generate", done, 2)
        logging.getLogger("cyclealign.loop").warning("set aside: [red]one[/red]")
    return output.getvalue()


def test_without_a_terminal_each_line_is_plain_text():
    """Prevents a log file of a run that is empty until the end, or full of control characters."""
    lines = shown(False).splitlines()
    assert lines[0] == "Experiment mine, round 1"
    assert lines[1:3] == ["generate: 0 of 2", lines[2]]
    assert lines[2].startswith("generate: 1 of 2")
    assert lines[-1] == "set aside: [red]one[/red]"
    assert "\x1b" not in shown(False)


def test_in_a_terminal_there_is_a_bar_and_no_second_line_for_it():
    """Prevents every report from being printed twice."""
    text = shown(True)
    assert "━" in text
    assert "set aside: [red]one[/red]" in text
    assert "generate: 1 of 2" not in text


def test_the_logger_is_left_as_it_was():
    """Prevents later runs in the same process from printing each line several times."""
    before = logging.getLogger("cyclealign.progress").level
    shown(False)
    assert logging.getLogger("cyclealign.progress").level == before
    assert not logging.getLogger("cyclealign.progress").handlers
