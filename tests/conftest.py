"""Databases for tests: SQLite always, PostgreSQL if a server answers; each test has its own."""

import getpass
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

# Set before the imports that read them: tests send no telemetry, download nothing, and leave a user's history alone.
os.environ.update(PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")
# One thread each: the models are tiny, and the pytest workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As in the command line, set before Prefect reads it: the traceback of a failed run goes to its log, not the terminal.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.pop("CYCLEALIGN_DATABASE_URL", None)

from hypothesis import settings

from cyclealign.store import Store
from cyclealign.store.database import parse_url
from tests.support.experiment import DATABASE_VARIABLE, empty

POSTGRES_VARIABLE = "CYCLEALIGN_TEST_POSTGRES"
pytest_plugins = ["tests.support.prefect_server", "tests.support.experiment"]

# Hypothesis' deadline would make tests depend on timing.
settings.register_profile("cyclealign", deadline=None)
settings.load_profile("cyclealign")

# Most of a test of the store is the same on both databases, so `make test-fast` runs it on SQLite alone.
BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))
KINDS = (only,) if (only := os.environ.get(DATABASE_VARIABLE)) else BOTH


# Fixtures with which a test runs whole rounds or flows: `make test-fast` leaves these tests out.
WHOLE_RUNS = {"bench", "flow_bench", "prefect_server"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of whole runs as slow."""
    for item in items:
        if WHOLE_RUNS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


class PostgresServer:
    """A database on a server, with a schema per test: creating a schema is much faster than a database."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self._engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
        with self._engine.connect():
            pass

    def make(self) -> str:
        """Create an empty schema and return the URL of connections that see nothing else."""
        name = f"cyclealign_test_{uuid.uuid4().hex[:16]}"
        self._run(f"CREATE SCHEMA {name}")
        options = {"options": f"-csearch_path={name}"}
        return self.url.update_query_dict(options).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop the schema of a URL."""
        options = str(sa.make_url(url).query["options"])
        self._run(f"DROP SCHEMA {options.partition('=')[2]} CASCADE")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _run(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement)


def postgres_url() -> str:
    """Return the URL of the database for tests; each makes a schema of its own in it."""
    return os.environ.get(POSTGRES_VARIABLE) or f"postgresql://{getpass.getuser()}@127.0.0.1/test"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Yield the PostgreSQL server; skip without one."""
    url = postgres_url()
    try:
        server = PostgresServer(url)
    except (sa.exc.OperationalError, ModuleNotFoundError) as error:
        pytest.skip(f"no PostgreSQL at {sa.make_url(url)!r} (set {POSTGRES_VARIABLE}): {str(error).splitlines()[0]}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated database file without rows, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "memory.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> Iterator[str]:
    """Yield the URL of a migrated schema."""
    url = postgres.make()
    Store.open(url).close()
    yield url
    postgres.drop(url)


@pytest.fixture(params=KINDS)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of an empty database, not migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'memory.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.make()
    yield url
    server.drop(url)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a migrated database without rows."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "memory.db")
        yield f"sqlite:///{tmp_path / 'memory.db'}"
        return
    # Emptying a schema is faster than migrating another one, so the tests of a session share one schema.
    url: str = request.getfixturevalue("migrated_postgres")
    yield url
    empty(url)


@pytest.fixture
def one_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a migrated database without rows, of the kind that whole experiments use."""
    if os.environ.get(DATABASE_VARIABLE) != "postgresql":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "memory.db")
        yield f"sqlite:///{tmp_path / 'memory.db'}"
        return
    url: str = request.getfixturevalue("migrated_postgres")
    yield url
    empty(url)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """Yield an open store without rows, on SQLite and on PostgreSQL in turn."""
    with Store.open(database) as store:
        yield store
