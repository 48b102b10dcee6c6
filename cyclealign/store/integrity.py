"""Checks of a whole database: the file, the foreign keys, and rows whose id is the hash of their content."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import ForeignKeyConstraint, Row, Select, and_, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from cyclealign import records, tables
from cyclealign.store.plans import adapter_record
from cyclealign.store.repository import Repository

MANY = 1000  # rows that are in memory at once


class Checked(NamedTuple):
    """The number of rows that were checked, and the ids of those that are wrong."""

    rows: int
    wrong: tuple[str, ...]


class Hashed(NamedTuple):
    """A table whose rows can be checked: its id, the columns that the id is made from, and the function that makes it.

    The function returns None for a row whose id can no longer be made from its columns.
    """

    id: InstrumentedAttribute[str]
    columns: tuple[InstrumentedAttribute[Any], ...]
    make_id: Callable[[Any], str | None]


class IntegrityStore(Repository):
    """Reads everything and changes nothing."""

    def problems_of_file(self) -> list[str]:
        """Return what SQLite finds wrong with its file; [] on PostgreSQL, which checks its pages when it reads them."""
        with self._database.reading() as session:
            if session.get_bind().dialect.name != "sqlite":
                return []
            found = session.connection().exec_driver_sql("PRAGMA integrity_check").scalars().all()
            return [str(line) for line in found if line != "ok"]

    def foreign_keys(self) -> int:
        """Return the number of foreign keys of all tables."""
        return sum(len(table.foreign_key_constraints) for table in tables.Base.metadata.sorted_tables)

    def dangling(self) -> dict[str, int]:
        """Return the number of rows of each foreign key, as ``table.column -> table``, that point nowhere."""
        found = {}
        with self._database.reading() as session:
            for table in tables.Base.metadata.sorted_tables:
                for key in table.foreign_key_constraints:
                    if count := _dangling(session, key):
                        found[f"{table.name}.{'+'.join(key.column_keys)} -> {key.referred_table.name}"] = count
        return found

    def hashes(self) -> dict[str, Checked]:
        """Return the checked and the wrong rows of each table whose ids are hashes of their content."""
        with self._database.reading() as session:
            return {name: _check(session, hashed) for name, hashed in HASHED.items()}

    def adapters(self) -> list[tuple[records.Adapter, str, str | None]]:
        """Return each adapter that is not pruned, with its round in words and its verdict (None: open)."""
        adapter, round_, experiment = tables.Adapter, tables.Round, tables.Experiment
        query = (
            select(adapter, experiment.name, round_.number, round_.verdict)
            .join(round_, round_.id == adapter.round_id)
            .join(experiment, experiment.id == round_.experiment_id)
            .where(adapter.pruned_at.is_(None))
            .order_by(round_.id)
        )
        with self._database.reading() as session:
            return [
                (adapter_record(row), f"round {number} of '{name}'", verdict)
                for row, name, number, verdict in session.execute(query)
            ]


def _dangling(session: Session, key: ForeignKeyConstraint) -> int:
    other = key.referred_table.alias()
    pairs = [(each.parent, other.c[each.column.name]) for each in key.elements]
    pointed_at = exists().where(and_(*(mine == theirs for mine, theirs in pairs)))
    given = and_(*(mine.is_not(None) for mine, _ in pairs))
    return session.scalar(select(func.count()).select_from(key.table).where(given, ~pointed_at)) or 0


def _check(session: Session, hashed: Hashed) -> Checked:
    rows, wrong = 0, []
    for row in _rows(session, hashed):
        rows += 1
        made = hashed.make_id(row)
        if made is not None and made != row[0]:
            wrong.append(str(row[0]))
    return Checked(rows, tuple(wrong))


def _rows(session: Session, hashed: Hashed) -> Iterator[Row[Any]]:
    columns: list[Any] = [hashed.id, *hashed.columns]
    query: Select[Any] = select(*columns).execution_options(yield_per=MANY)
    yield from session.execute(query)


def _call_key(row: Any) -> str | None:
    if row.model == records.SIMULATED_MODEL:
        return None  # such calls of early versions were made under another model's name, which a migration corrected
    return records.content_id("call", row.model, row.messages, [list(pair) for pair in row.parameters.items()])


def _demonstration_id(row: Any) -> str:
    turns = tuple(row.turns or ())
    return records.content_id("demonstration", row.kind, row.question, row.answers, *[list(turns)] * bool(turns))


_PROMPT, _LIST, _TEMPLATE = tables.Prompt, tables.LabelledList, tables.Template
_DEMONSTRATION, _CALL = tables.Demonstration, tables.JudgeCall
HASHED = {
    "prompt": Hashed(_PROMPT.id, (_PROMPT.messages,), lambda row: records.content_id("prompt", row.messages)),
    "labelled_list": Hashed(
        _LIST.id,
        (_LIST.prompt_id, _LIST.answers),
        lambda row: records.content_id("labelled", row.prompt_id, row.answers),
    ),
    "template": Hashed(_TEMPLATE.hash, (_TEMPLATE.text,), lambda row: records.content_id("template", row.text)),
    "demonstration": Hashed(
        _DEMONSTRATION.id,
        (_DEMONSTRATION.kind, _DEMONSTRATION.question, _DEMONSTRATION.answers, _DEMONSTRATION.turns),
        _demonstration_id,
    ),
    "judge_call": Hashed(_CALL.key, (_CALL.model, _CALL.messages, _CALL.parameters), _call_key),
}
