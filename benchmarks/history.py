"""Times and memory of a long history on both databases: ``python -m benchmarks.history --json``.

A history of a million prompts, 1,000 rounds, 1.1 million candidates and 220,000 judge calls is filled in bulk. Each
query, view, command and page is then repeated in a process of its own; the time that Python takes to start and import,
and the first repetition, are left out. ``processor_ms_p50`` is the time in which this process was at work: on a busy
machine it says more, but it leaves out the PostgreSQL server. ``--scale 0.1`` is a tenth of the history. ``--keep
FOLDER`` keeps the filled SQLite file, and uses one that is there already. PostgreSQL: a database of its own on the
server of ``--postgres``, dropped at the end, or kept with ``--keep`` under a name that follows from the folder's; left
out if no server answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from benchmarks.history_fill import fill
from benchmarks.history_queries import COMMANDS, PAGES, QUERIES, VIEWS
from benchmarks.history_rows import Size
from cyclealign.store.database import URL_VARIABLE, parse_url

OTHERS = ("open a round", "estimate", "export")
SERVER = "postgresql://postgres@127.0.0.1:5432/test"


def measure(url: str, names: Sequence[str], repetitions: int) -> dict[str, Any]:
    """Return the figures of one database."""
    page_p50, page_p95, processor, memory = {}, {}, {}, {}
    for name in names:
        made = child(url, name, repetitions)
        page_p50[name] = round(median(made["times_ms"]), 1)
        page_p95[name] = round(quantiles(made["times_ms"], n=20)[-1], 1)
        processor[name] = round(median(made["processor_ms"]), 1)
        memory[name] = round(made["peak_memory_mb"])
        times = f"{page_p50[name]:9.1f} {page_p95[name]:9.1f} {processor[name]:9.1f} ms"
        print(f"{name:32} {times} {memory[name]:6} MB", file=sys.stderr)
    figures: dict[str, Any] = {"page_ms_p50": page_p50, "page_ms_p95": page_p95, "processor_ms_p50": processor}
    figures["peak_memory_mb"] = memory
    if "open a round" in names:
        rates = child(url, "insert", 1)
        figures["open_round_ms"] = page_p50["open a round"]
        figures["insert_rows_per_second"] = {name: round(rate) for name, rate in rates.items()}
        print(figures["insert_rows_per_second"], file=sys.stderr)
    return figures


def child(url: str, name: str, repetitions: int) -> dict[str, Any]:
    """Return the result of a measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.history_queries", name, str(repetitions)]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, URL_VARIABLE: url, "CYCLEALIGN_HOME": home}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"'{name}' failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def databases(scale: float, keep: Path | None, server: str) -> Iterator[dict[str, str]]:
    """Yield the URLs of both databases, filled."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        urls = {"sqlite": f"sqlite:///{folder.absolute() / f'history-{scale:g}.db'}"}
        name = f"cyclealign_history_{sha256(f'{folder.absolute()} {scale:g}'.encode()).hexdigest()[:12]}"
        if own := own_database(server, name):
            urls["postgresql"] = own
        try:
            for url in urls.values():
                fill(url, Size(scale), lambda words: print(words, file=sys.stderr))
            yield urls
        finally:
            if keep is None and own:
                execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def own_database(server: str, name: str) -> str:
    """Make a database on the server, unless it is there, and return its URL; an empty text if no server answers."""
    try:
        if not execute(server, f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608 - a name of ours
            execute(server, f"CREATE DATABASE {name}")
    except OperationalError as error:
        print(f"no PostgreSQL: {error.orig}", file=sys.stderr)
        return ""
    return parse_url(server).set(database=name).render_as_string(hide_password=False)


def execute(server: str, statement: str) -> list[Any]:
    """Execute a statement outside a transaction and return its rows."""
    engine = create_engine(parse_url(server), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the full history.")
    parser.add_argument("--keep", type=Path, help="Folder in which the filled database is kept, and used again.")
    parser.add_argument("--postgres", default=SERVER, help="A database of the server on which to make another.")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", action="append", help="Measure this query, view or command; several options: these.")
    parser.add_argument("--json", action="store_true", help="Print the figures as JSON.")
    asked = parser.parse_args()
    names = asked.only or [*QUERIES, *VIEWS, *COMMANDS, *PAGES, *OTHERS]
    with databases(asked.scale, asked.keep, asked.postgres) as urls:
        figures = {kind: measure(url, names, asked.repetitions) for kind, url in urls.items()}
    if asked.json:
        print(json.dumps({"scale": asked.scale, **figures}, indent=2))


if __name__ == "__main__":
    main()
