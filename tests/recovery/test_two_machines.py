"""Workers of two homes advance four experiments of one PostgreSQL database; what one leaves, the other finishes."""

import os
import signal
from pathlib import Path

import pytest

from cyclealign.loop.check_database import check_database
from cyclealign.store import Store
from tests.recovery.experiment import import_prompts, prepare
from tests.recovery.fork_server import ForkServer
from tests.recovery.points import Point, wait_for_mark
from tests.support.launched import alive
from tests.support.local_judge import LocalJudge
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

ROUNDS = 2
EXPERIMENTS = ("one", "two", "three", "four")


def home_of(folder: Path, machine: str, experiment: str, model: Path, judge: str, url: str) -> dict[str, str]:
    """Write the config of an experiment on a machine; return the variables of its runs."""
    home = folder / machine / experiment
    made = prepare(home, model, judge, ROUNDS)
    config = home / "run.toml"
    config.write_text(config.read_text().replace('"recovery"', f'"{experiment}"'))
    shared = {"CYCLEALIGN_DATABASE_URL": url, "CYCLEALIGN_ADAPTERS": str(folder / "shared")}
    return {**made, "CYCLEALIGN_HOME": str(folder / machine / "home"), **shared}


def test_a_machine_that_dies_leaves_its_experiments_to_the_other(migrated_postgres, tmp_path):
    """Prevents experiments that no other worker can continue, rounds of two owners, and replies paid twice."""
    from tests.support.experiment import empty

    model = make_model(tmp_path / "model")
    points = {"one": Point(1, "agree", action="mark"), "two": Point(2, "train", action="mark")}
    with LocalJudge() as judge, ForkServer() as server:

        def start(machine: str, experiment: str) -> int:
            variables = home_of(tmp_path, machine, experiment, model, judge.url, migrated_postgres)
            at = [points[experiment]] if machine == "first" and experiment in points else []
            return server.start(tmp_path / machine / experiment, variables, at)

        variables = home_of(tmp_path, "first", "one", model, judge.url, migrated_postgres)
        import_prompts(tmp_path / "first" / "one", variables)
        runs = {name: start("first" if name in points else "second", name) for name in EXPERIMENTS}
        for name, point in points.items():
            assert wait_for_mark(point, tmp_path / "first" / name, lambda pid=runs[name]: alive(pid))
            os.kill(runs[name], signal.SIGKILL)
        ended = {name: server.wait(pid) for name, pid in runs.items()}
        assert ended == {"one": -9, "two": -9, "three": 0, "four": 0}
        assert [server.wait(start("second", name)) for name in points] == [0, 0]
    with Store.open(migrated_postgres) as store:
        rounds = {name: [row["verdict"] for row in store.experiments.rounds(name)] for name in EXPERIMENTS}
        assert rounds == dict.fromkeys(EXPERIMENTS, ["accepted"] * ROUNDS)
        assert [check.problems for check in check_database(store) if check.problems] == []
        spent = sum(store.calls.spending(name).calls for name in EXPERIMENTS)
    assert sum(judge.answered.values()) - spent <= len(points)
    empty(migrated_postgres)
