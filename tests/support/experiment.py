"""An experiment on the tiny model with a local judge, run inside this process: by the loop alone, or as the flow."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cyclealign.config import checked, load_config
from cyclealign.errors import CycleAlignError
from cyclealign.loop.align import align
from cyclealign.store import Store, database_url
from cyclealign.store.database import URL_VARIABLE, parse_url
from cyclealign.store.migrate import VERSION_TABLE
from tests.support.local_judge import LocalJudge
from tests.support.paths import ROOT
from tests.support.tiny import make_model

DATABASE_VARIABLE = "CYCLEALIGN_TEST_DATABASE"  # "postgresql": whole experiments use it as well
WORDS = ["bake bread", "fix a tyre", "use the pump", "use the oven", "pump it", "fix it", "bake it", "fix the oven"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


def run_command(capture: Any, *arguments: str) -> tuple[int, str, str]:
    """``cyclealign ARGUMENTS`` in this process: exit code, standard output and standard error."""
    from cyclealign.cli.main import main

    capture.readouterr()
    before, sys.argv = sys.argv, ["cyclealign", *arguments]
    try:
        main()
        code: Any = 0
    except SystemExit as exit_:
        code = exit_.code or 0
    finally:
        sys.argv = before
    output = capture.readouterr()
    return code, output.out, output.err


@pytest.fixture
def command(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line with a home of its own: ``command(*arguments)`` as `run_command`."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    return partial(run_command, capsys)


@dataclass
class Bench:
    """A home folder, a config to change, and runs without Prefect."""

    home: Path
    judge: LocalJudge
    capture: Any
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def set(self, section: str, **values: Any) -> None:
        self.settings.setdefault(section, {}).update(values)

    def write(self) -> Path:
        top = "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.settings[""].items())
        sections = [name for name in self.settings if name]
        tables = [
            f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.settings[name].items())
            for name in sections
        ]
        path = self.home / "run.toml"
        path.write_text("\n".join([top, *tables]))
        return path

    def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of ``cyclealign ARGUMENTS``, with single blanks between words."""
        code, output, errors = run_command(self.capture, *arguments)
        return code, " ".join((output + errors).split())

    def run(self, **changes: Any) -> tuple[int, str]:
        """Advance the experiment; exit code and output as those of ``cyclealign run``, without Prefect."""
        from cyclealign.cli.console import console
        from cyclealign.cli.history import print_rounds
        from cyclealign.cli.progress_bars import live_progress

        self.capture.readouterr()
        path = self.write()
        try:
            config = checked({**load_config(path).model_dump(), **changes}, "test")
            with live_progress(console):
                align(config)
            with Store.open() as store:
                print_rounds(store, config.experiment)
            code, problem = 0, ""
        except CycleAlignError as error:
            code, problem = 1, f"{type(error).__name__}: {error}"
        output = self.capture.readouterr()
        return code, " ".join((output.out + output.err + problem).split())

    def rounds(self, experiment: str = "bench") -> list[dict[str, Any]]:
        with Store.open() as store:
            return store.experiments.rounds(experiment)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL on the experiment's database and return the rows, if any; JSON columns are text on both kinds."""
        engine = sa.create_engine(parse_url(database_url()))
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            rows = [tuple(map(_as_text, row)) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    def prompts(self, count: int = 48) -> Path:
        rows = [
            {
                "chosen": f"\n\nHuman: how do i {w} {n}\n\nAssistant: yes {w}",
                "rejected": f"\n\nHuman: how do i {w} {n}\n\nAssistant: no",
            }
            for n, w in enumerate((WORDS * count)[:count])
        ]
        path = self.home / "prompts.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return path


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


class FlowBench(Bench):
    """The same with runs of the flow on a Prefect server, started by the command line."""

    def run(self, **changes: Any) -> tuple[int, str]:
        options = [text for name, value in changes.items() for text in (f"--{name}", str(value))]
        return self.command("run", str(self.write()), *options)


@pytest.fixture
def default_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let whole experiments use PostgreSQL, if the tests are started for it; otherwise the file in the home folder."""
    if os.environ.get(DATABASE_VARIABLE) != "postgresql":
        yield
        return
    url: str = request.getfixturevalue("migrated_postgres")
    monkeypatch.setenv(URL_VARIABLE, url)
    yield
    empty(url)


def empty(url: str) -> None:
    """Delete all rows of a PostgreSQL schema and reset its counters."""
    engine = sa.create_engine(parse_url(url))
    tables = [name for name in sa.inspect(engine).get_table_names() if name != VERSION_TABLE]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
    engine.dispose()


@pytest.fixture
def bench(
    default_database: None,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Bench]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    yield from prepared(Bench, tmp_path, tiny_model, monkeypatch, capsys)


@pytest.fixture
def flow_bench(
    default_database: None,
    tmp_path: Path,
    tiny_model: Path,
    prefect_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Bench]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    yield from prepared(FlowBench, tmp_path, tiny_model, monkeypatch, capsys)


def prepared(
    kind: type[Bench], folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capture: Any
) -> Iterator[Bench]:
    """A bench whose experiment takes seconds, with imported prompts."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(folder / "home"))
    monkeypatch.setenv("TEST_JUDGE_KEY", "a-very-secret-key")
    with LocalJudge() as judge:
        made = kind(folder, judge, capture)
        made.set("", experiment="bench", rounds=1, templates=str(ROOT / "prompts"))
        made.set("prompts", set_name="tiny", per_round=4, held_out=3)
        made.set("policy", model=str(tiny_model), max_new_tokens=8, batch_prompts=2, max_truncated=1.0)
        made.set(
            "judge", kind="openai", base_url=judge.url, model="local", api_key_variable="TEST_JUDGE_KEY", retries=0
        )
        made.set("training", process="same", prompts_per_step=2)
        made.set("evaluation", labelled_lists=2)
        made.set("demonstrations", promotion="identical")  # four lists of a tiny model agree by chance
        made.set("health", lists=0)  # most tests count the calls of the rest of a round; test_health.py has the gate
        code, output = made.command(
            "prompts", "import", str(made.prompts()), "--set", "tiny", "--held-out-share", "0.3"
        )
        assert code == 0, output
        yield made
