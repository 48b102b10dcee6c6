"""A run that is paused for review for longer than five minutes, on a real server with a real worker.

Prefect ends the lease of a deployment's limit during a pause, and cancels the run when a renewal fails, after 225 s.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cyclealign.judge.human_review import letters_of
from tests.support import aligning
from tests.support.launched import Launched, launched
from tests.support.local_judge import LocalJudge, unsure

pytestmark = [pytest.mark.launch, pytest.mark.long]

PAUSE_SECONDS = float(os.environ.get("CYCLEALIGN_TEST_PAUSE_SECONDS", "370"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Launched]:
    with launched(tmp_path, {"TEST_JUDGE_KEY": "key", "OMP_NUM_THREADS": "1"}) as one:
        aligning.prepare(one)
        yield one.begin()


def config(judge: LocalJudge, experiment: str, **changes: Any) -> dict[str, Any]:
    return aligning.config(judge, experiment=experiment, acceptance={"min_win_rate": 0.0}, **changes)


def test_a_run_paused_for_six_minutes_goes_on_alone(site: Launched) -> None:
    """Prevents a run that is cancelled while reviewers are at work, and a second one that gets in meanwhile."""
    with LocalJudge(unsure) as judge:
        waiting = config(judge, "reviewed", rounds=2, review={"lists": 1, "wait_minutes": 60})
        paused = site.start_run("align/align", config=waiting)
        site.wait_for_state(paused, "Paused")
        deadline = time.monotonic() + PAUSE_SECONDS
        second = site.start_run("align/align", config=waiting)
        cancelled = site.wait_for_state(second, "Cancelled")
        assert "Run 'align-reviewed' (process" in cancelled["state"]["message"]
        beside = site.start_run("align/align", config=config(judge, "beside"))
        site.wait_for_state(beside, "Completed")
        while time.monotonic() < deadline:
            assert site.run(paused)["state"]["name"] == "Paused", site.states_of(paused)
            time.sleep(5)
        submit_reversed(site, paused)
        site.wait_for_state(paused, "Running")
        site.wait_for_state(paused, "Paused")  # of the second round
        submit_reversed(site, paused)
        site.wait_for_state(paused, "Completed")
    assert not {"Crashed", "Cancelled", "AwaitingRetry"} & set(site.states_of(paused))
    assert len(aligning.drawn(site, "reviewed")) == 2
    assert [row.learnt for row in aligning.reviews(site, "reviewed")] == [True, True]


def submit_reversed(site: Launched, run_id: str) -> None:
    """Fill in the form with the letters of the waiting list, the last one first."""
    (asked,) = [row for row in aligning.reviews(site, "reviewed") if row.status == "waiting"]
    typed = "".join(reversed(letters_of(asked)))
    reply = httpx.post(f"{site.url}/api/flow_runs/{run_id}/resume", json={"run_input": {"list_1": typed}})
    assert reply.json()["status"] == "ACCEPT", reply.text
