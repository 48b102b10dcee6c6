"""A round that waits for a person, on a real server with a real worker: the form, the command, and a restart."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cyclealign.store import Store
from tests.support import aligning
from tests.support.launched import Launched, launched, until
from tests.support.local_judge import LocalJudge

pytestmark = pytest.mark.launch

WAIT_SECONDS = float(os.environ.get("CYCLEALIGN_TEST_PAUSE_SECONDS", "370"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Launched]:
    with launched(tmp_path, {"TEST_JUDGE_KEY": "key", "OMP_NUM_THREADS": "1"}) as one:
        aligning.prepare(one)
        yield one.begin()


@pytest.fixture
def judge() -> Iterator[LocalJudge]:
    with LocalJudge() as one:
        yield one


def suspended(site: Launched, judge: LocalJudge) -> str:
    """Start a run that asks, and wait until its process has ended; return its id."""
    run = site.start_run("align/align", config=aligning.config(judge, acceptance={"approval": "ask"}))
    site.wait_for_state(run, "Suspended")
    until("the end of the run's process", lambda: not processes_of(run))
    return run


def processes_of(run: str) -> list[psutil.Process]:
    """Return the processes that work on the run."""
    return [one for one in psutil.process_iter(["environ"]) if run in str((one.info["environ"] or {}).values())]


def rounds(site: Launched) -> list[dict[str, Any]]:
    """Return the rounds of the experiment."""
    with Store.open(f"sqlite:///{site.home / 'cyclealign.db'}") as store:
        return [dict(row) for row in store.experiments.rounds("ui")]


def test_the_form_decides_about_the_round(site: Launched, judge: LocalJudge) -> None:
    """Prevents a GPU that is held while nobody decides, and a decision that is lost or asked for twice."""
    run = suspended(site, judge)
    assert rounds(site)[0]["verdict"] is None
    calls = len(judge.bodies)
    submit(site, run, decision="decide later")
    until("the next form", lambda: site.states_of(run).count("Suspended") == 2)
    submit(site, run, decision="accept", comment="Reads well.", name="Ada")
    site.wait_for_state(run, "Completed")
    (row,) = rounds(site)
    assert row["verdict"] == "accepted"
    assert row["reason"].startswith("accepted by Ada: Reads well. (the evidence suggested ")
    assert len(judge.bodies) == calls


def test_a_decision_by_command_after_a_restart(site: Launched, judge: LocalJudge) -> None:
    """Prevents a round that is lost, crashed or evaluated again because everything was stopped while it waited."""
    run = suspended(site, judge)
    calls = len(judge.bodies)
    site.end()
    site.begin()
    assert site.run(run)["state"]["name"] == "Suspended"
    command = [sys.executable, "-m", "cyclealign.cli.main", "approve", "ui", "--reject", "--comment", "Too long."]
    environment = {**site.environment, "PREFECT_API_URL": f"{site.url}/api"}
    done = subprocess.run([*command, "--by", "Bo"], cwd=site.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Its suspended run goes on." in done.stdout
    site.wait_for_state(run, "Completed")
    (row,) = rounds(site)
    assert (row["verdict"], row["reason"][:28]) == ("rolled_back", "rejected by Bo: Too long. (t")
    assert len(judge.bodies) == calls
    assert "Crashed" not in site.states_of(run)


@pytest.mark.long
def test_a_wait_of_six_minutes(site: Launched, judge: LocalJudge) -> None:
    """Prevents a run that Prefect ends while it waits: leases of limits are given up after five minutes."""
    run = suspended(site, judge)
    time.sleep(WAIT_SECONDS)
    assert site.run(run)["state"]["name"] == "Suspended"
    submit(site, run, decision="accept")
    site.wait_for_state(run, "Completed")
    assert rounds(site)[0]["verdict"] == "accepted"


def submit(site: Launched, run: str, **fields: str) -> None:
    """Fill in the form of the suspended run."""
    reply = site.ask("POST", f"/flow_runs/{run}/resume", {"run_input": fields})
    assert reply["status"] == "ACCEPT", reply
