"""What every command prints on, and tables that fit it."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cyclealign.text import plain_text

console = Console()
COLUMNS_ABREAST = 3


def side_by_side(title: str, rows: Sequence[Mapping[str, str]]) -> Iterator[Table]:
    """Rich tables with a column a row, headed by its first cell, a few abreast, so that they fit a terminal."""
    for start in range(0, len(rows), COLUMNS_ABREAST):
        some = rows[start : start + COLUMNS_ABREAST]
        head, *names = some[0]
        table = Table(title=title, title_justify="left")
        table.add_column(head)
        for row in some:
            table.add_column(escape(row[head]), justify="right")
        for name in names:
            table.add_row(name, *[escape(row[name]) for row in some])
        yield table


def indented(lead: str, words: str) -> Table:
    """Text that a model wrote, every line of it right of ``lead``, broken ones too: no line of it passes for ours."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(lead), Text(plain_text(words)))
    return grid
