"""Live progress: bars in a terminal, plain lines anywhere else."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from cyclealign.progress import LOGGER, listening
from cyclealign.text import plain_text


@contextmanager
def live_progress(console: Console) -> Iterator[None]:
    """Show the progress of each step while the block runs, and this project's warnings."""
    with progress_bars(console) if console.is_terminal else progress_lines(console):
        yield


@contextmanager
def progress_lines(console: Console) -> Iterator[None]:
    """Print the lines of the progress log: a file or a pipe would keep every state of a bar, or none."""
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        with logged_to(ConsoleHandler(console, logging.INFO), LOGGER), warnings_shown(console):
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def progress_bars(console: Console) -> Iterator[None]:
    """Show a bar per step while the block runs; a step that restarts gets a new bar."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # names of arms are free text
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        current: dict[str, TaskID] = {}

        def listen(what: str, done: int, of: int) -> None:
            if of == 0:
                bars.console.rule(Text(what), align="left")
                for finished in bars.task_ids:
                    bars.remove_task(finished)
                current.clear()
                return
            if what not in current or bars.tasks[bars.task_ids.index(current[what])].finished:
                current[what] = bars.add_task(what, total=of)
            bars.update(current[what], completed=done, total=of)

        with listening(listen), warnings_shown(bars.console):
            yield


class ConsoleHandler(logging.Handler):
    """Prints records, above progress bars if there are any: Prefect's handlers would keep them from the terminal."""

    def __init__(self, console: Console, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message; long lines are left to the terminal, so that names in them can be copied."""
        self._console.print(Text(plain_text(record.getMessage())), soft_wrap=True)


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """Print this project's warnings while the block runs."""
    with logged_to(ConsoleHandler(console), "cyclealign"):
        yield


@contextmanager
def logged_to(handler: logging.Handler, name: str) -> Iterator[None]:
    """Let the handler have the records of this logger while the block runs."""
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
