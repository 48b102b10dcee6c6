"""The console of all commands, and tables that fit it."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cyclealign.records import Message, turn_text
from cyclealign.text import plain_text

console = Console()
MAX_COLUMNS = 3


def side_by_side(title: str, rows: Sequence[Mapping[str, str]]) -> Iterator[Table]:
    """Yield tables that show rows as columns, headed by each row's first cell, a few at a time to fit a terminal."""
    for start in range(0, len(rows), MAX_COLUMNS):
        shown = rows[start : start + MAX_COLUMNS]
        head, *names = shown[0]
        table = Table(title=title, title_justify="left")
        table.add_column(head)
        for row in shown:
            table.add_column(escape(row[head]), justify="right")
        for name in names:
            table.add_row(name, *[escape(row[name]) for row in shown])
        yield table


def print_plain(line: str) -> None:
    """Print a line as it is: brackets in it are text, not markup."""
    console.print(line, markup=False, highlight=False)


def conversation(lead: str, words: str, turns: Sequence[Message]) -> Group:
    """Return a prompt to the right of ``lead``, each turn of a conversation to the right of its number and role.

    A turn's text never starts at the margin of the roles, where it could pass for another turn.
    """
    rows = [(f"{lead}{number} {turn['role']}: ", turn_text(turn)) for number, turn in enumerate(turns, 1)]
    return Group(*(indented(plain_text(head), text) for head, text in rows or [(lead, words)]))


def indented(lead: str, words: str) -> Table:
    """Return text with every line, wrapped ones too, to the right of ``lead``.

    A line that a model wrote never starts at the margin, where it could pass for a line of this program.
    """
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(lead), Text(plain_text(words)))
    return grid
