"""Live progress in the terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from cyclealign.progress import listening
from cyclealign.text import plain_text


@contextmanager
def live_progress(console: Console) -> Iterator[None]:
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
    """Prints records above the progress bars: Prefect's handlers would keep them from the terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message; long lines are left to the terminal, so that names in them can be copied."""
        self._console.print(Text(plain_text(record.getMessage())), soft_wrap=True)


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """Print this project's warnings while the block runs."""
    logger, handler = logging.getLogger("cyclealign"), ConsoleHandler(console)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
