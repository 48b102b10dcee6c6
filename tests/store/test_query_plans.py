"""No question to the store reads a big table as a whole: on a long history it would take seconds, or minutes.

The statements of each method are recorded on a small filled history and explained. PostgreSQL is told to avoid
what it prefers for small tables: a sequential scan is then chosen only if no index fits.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.history_fill import fill
from benchmarks.history_rows import EXPERIMENTS, SET, Size
from cyclealign.store import PromptFilter, Property, Store
from tests.conftest import KINDS, PostgresServer

pytestmark = pytest.mark.slow

NAME, NUMBER = EXPERIMENTS[0], 3
BIG = {
    *("prompt", "prompt_set_member", "round_prompt", "candidate", "judge_call", "ranking", "ranking_place"),
    *("agreement", "metric"),
}
QUESTIONS: dict[str, Callable[[Store], object]] = {
    "draw train prompts": lambda store: list(islice(store.draws.unused(SET, NAME, 0, 1), 250)),
    "draw held-out prompts": lambda store: list(islice(store.draws.held_out(SET, 0), 25)),
    "unfinished round": lambda store: store.rounds.unfinished(NAME),
    "last kept round": lambda store: store.rounds.last_kept(NAME),
    "rounds closed": lambda store: store.rounds.count_closed(NAME),
    "rollbacks": lambda store: store.rounds.rollbacks_in_a_row(NAME),
    "metrics of the last accepted round": lambda store: store.metrics.of_last_accepted(NAME),
    "reply": lambda store: store.calls.reply(NAME, "key"),
    "reply of another experiment": lambda store: store.calls.shared_reply("key"),
    "answered keys": lambda store: store.calls.answered_keys(NAME),
    "answered calls of a round": lambda store: store.calls.answered(1, "rank"),
    "unanswered prompts": lambda store: store.candidates.unanswered_prompts(1),
    "candidates of a round": lambda store: store.candidates.by_prompt(1),
    "rankings of a round": lambda store: store.rankings.by_prompt(1, "judge"),
    "active demonstrations": lambda store: store.demonstrations.active(NAME),
    "page of a round": lambda store: store.history.prompts(NAME, NUMBER, PromptFilter(), 20),
    "truncated of a round": lambda store: store.history.prompts(
        NAME, NUMBER, PromptFilter(only=(Property.TRUNCATED,)), 20
    ),
    "summaries of an experiment": lambda store: store.history.summaries(NAME),
    "outcomes of an experiment": lambda store: store.history.outcomes(NAME),
    "last rounds of an experiment": lambda store: store.experiments.rounds(NAME, 2),
    "spending of an experiment": lambda store: store.views.rows("judge_spending", NAME),
    "label versions": lambda store: store.templates.label_versions("rank", NAME),
    "experiments": lambda store: store.upkeep.experiments(),
    "judges of an experiment": lambda store: store.judges.compare(NAME),
    "waiting reviews": lambda store: store.reviews.find(NAME, None),
    "details of a round": lambda store: store.history.detail(NAME, NUMBER),
}


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a hundredth of the benchmark's history: 10,000 prompts and ten rounds."""
    server: PostgresServer | None = None
    url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'memory.db'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.make()
    fill(url, Size(0.01), lambda words: None)
    with Store.open(url) as store:
        yield store
    if server is not None:
        server.drop(url)


@contextmanager
def recorded(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Yield the list of the statements and parameters that are executed in the block."""
    statements: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        statements.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(engine, "before_cursor_execute", note)


def sqlite_scans(connection: sa.Connection, statement: str, parameters: Any) -> set[str]:
    """Return the big tables that SQLite would read as a whole; an alias stands for its table."""
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    scanned = {match[1] for row in plan if (match := re.match(r"SCAN (\w+)", row[3]))}
    tables = dict(re.findall(r"(\w+) AS (\w+)", statement))
    aliases = {alias: table for table, alias in tables.items()}
    return {aliases.get(name, name) for name in scanned} & BIG


def postgresql_scans(connection: sa.Connection, statement: str, parameters: Any) -> set[str]:
    """Return the big tables that PostgreSQL would read as a whole, whether or not along an index."""
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return {
        node["Relation Name"]
        for node in nodes(plan[0]["Plan"])
        if node.get("Relation Name") in BIG and "Index Cond" not in node and node["Node Type"] != "Bitmap Heap Scan"
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_big_table_is_read_as_a_whole(filled: Store, name: str) -> None:
    with recorded(filled.engine) as statements:
        QUESTIONS[name](filled)
    assert statements
    is_sqlite = filled.engine.dialect.name == "sqlite"
    scans = sqlite_scans if is_sqlite else postgresql_scans
    with filled.engine.connect() as connection:
        if not is_sqlite:
            for kind in ("seqscan", "hashjoin", "mergejoin"):
                connection.exec_driver_sql(f"SET enable_{kind} = off")
        for statement, parameters in statements:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                assert scans(connection, statement, parameters) == set(), statement


def test_a_scan_is_found(filled: Store) -> None:
    """The check would pass for good if it misread the plans."""
    statement = "SELECT count(*) FROM candidate AS a WHERE a.text = 'an answer'"
    with filled.engine.connect() as connection:
        is_sqlite = filled.engine.dialect.name == "sqlite"
        found = (sqlite_scans if is_sqlite else postgresql_scans)(connection, statement, ())
    assert found == {"candidate"}
