"""SIGKILL at many points of a round: rerunning resumes it, and the result is that of an uninterrupted run."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.recovery.experiment import ROWS, everything, import_prompts, prepare
from tests.support.local_judge import LocalJudge
from tests.support.paths import ROOT
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

# A reply that dies before its commit is asked again, and nothing else: one a kill, since one call is under way at most.
KILLS = [
    ["with a reply, in generation", 2],
    ["in generation, once a reply is stored", 1],
    *[["after commit", count] for count in (1, 2, 3, 4, 6, 9, 12)],
    ["in generation", 1],
    ["before commit", 2],
    ["in generation", 2],
    ["before commit", 5],
    ["after commit", 14],
    ["in training", 1],
    ["in training", 2],
    ["after commit", 5],
    ["before commit", 3],
    ["after commit", 3],
    ["after commit", 7],
    ["before commit", 9],
    ["after commit", 9],
]


class Bookkeeper(LocalJudge):
    """Notes every question whose answer was in the database when it was asked."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.asked_in_vain: list[object] = []

    def reply(self, raw: bytes) -> tuple[int, dict[str, Any]]:
        messages = json.loads(raw)["messages"]
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute("SELECT messages FROM judge_call WHERE status = 'answered'").fetchall()
        if messages in [json.loads(text) for (text,) in rows]:
            self.asked_in_vain.append(messages)
        return super().reply(raw)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


def drive(home: Path, environment: dict[str, str], kills: list[list[object]]) -> list[dict[str, object]]:
    (home / "kills.json").write_text(json.dumps(kills))
    command = [sys.executable, "-m", "tests.recovery.driver", str(home / "run.toml"), str(home / "kills.json")]
    log = home / "driver.log"
    # To a file: a pipe would stay open for as long as anything that a killed run had started.
    with log.open("w") as output:
        subprocess.run(command, env=environment, cwd=ROOT, stdout=output, stderr=output, check=False, timeout=400)
    outcomes = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"kill"')]
    assert outcomes, log.read_text()[-3000:]
    assert outcomes[-1]["code"] == 0, log.read_text()[-3000:]
    return outcomes


def test_a_run_killed_at_many_points_ends_as_an_undisturbed_one(model, prefect_server, tmp_path_factory):
    """Prevents lost or doubled rows, half-made adapters, and judge calls that are paid for twice."""
    ends, judges, outcomes = [], [], []
    for name, kills in (("undisturbed", []), ("killed", KILLS)):
        home = tmp_path_factory.mktemp(name)
        with Bookkeeper(home / "home" / "cyclealign.db") as judge:
            environment = {**prepare(home, model, judge.url), "PREFECT_API_URL": prefect_server}
            import_prompts(home, environment)
            outcomes.append(drive(home, {**os.environ, **environment}, kills))
        ends.append(everything(f"sqlite:///{home / 'home' / 'cyclealign.db'}"))
        judges.append(judge)
    killed = [each for each in outcomes[1] if each["killed"]]
    assert len(killed) >= 10
    for name in ROWS:
        assert ends[0][name], f"the undisturbed run left no {name}"
        assert ends[1][name] == ends[0][name], name
    assert set(judges[1].answered) == set(judges[0].answered)
    assert [each["killed"] for each in outcomes[1][:2]] == [True, True], (
        "generation and judging were not at work at once"
    )
    assert judges[1].asked_in_vain == []
    repeated = sum(judges[1].answered.values()) - len(judges[1].answered)
    assert repeated <= len(killed)
