"""The flow that users run, from the command line, on a Prefect server: retries, artifacts, messages, secrets."""

import json
import threading

import pytest

from cyclealign.config import load_config
from cyclealign.errors import NotReady
from cyclealign.store.rankings import RankingStore
from tests.loop.test_concurrency import LONG, in_second_batch


@pytest.fixture
def bench(flow_bench):
    """All runs here are runs of the flow."""
    return flow_bench


def test_a_retried_run_advances_by_no_more_rounds_than_it_was_asked_for(bench):
    """Prevents a run that was cut off in its second round from adding its whole count of rounds once more."""
    from flows.align import align

    left = [8]  # of failing calls; two orders of four prompts are a round's judging

    def fails_in_the_second_round(_: int) -> int:
        if left[0] and [row["verdict"] is None for row in bench.rounds()] == [False, True]:
            left[0] -= 1
            return 500
        return 200

    bench.judge.status = fails_in_the_second_round
    config = load_config(bench.write()).model_copy(update={"rounds": 2})
    assert align.with_options(retries=1)(config) == 2
    assert left == [0]
    assert [row["verdict"] is not None for row in bench.rounds()] == [True, True]


def test_a_run_from_the_ui_is_checked_before_it_opens_a_round(bench):
    """Prevents a run that was started from a form from generating for an hour before a wrong key shows."""
    from flows.align import align

    bench.judge.ping_status = 401
    with pytest.raises(NotReady, match="refuses the key in TEST_JUDGE_KEY"):
        align(load_config(bench.write()))
    assert bench.rounds() == []


def test_the_key_is_sent_and_kept_nowhere(bench):
    """Prevents the judge's key from reaching the database, a log, a report or Prefect."""
    bench.run()
    assert set(bench.judge.headers) == {"Bearer a-very-secret-key"}
    for path in bench.home.rglob("*"):
        if path.is_file():
            assert b"a-very-secret-key" not in path.read_bytes(), path


def test_each_round_leaves_a_table_and_a_plot_in_prefect(bench):
    """Prevents a UI that shows that something ran and not what came of it."""
    from prefect.artifacts import Artifact

    bench.run()
    table, page = (Artifact.get(key) for key in ("bench-history", "bench-report"))
    assert json.loads(table.data)[0]["round"] == "1"
    assert page.data.startswith("# Experiment bench, round 1: ")
    assert "data:image/svg+xml;base64," in page.data
    assert "<th>judge</th><th>policy</th>" in page.data
    assert "| win rate against the parent | " in page.data
    assert "\n## Training, " in page.data
    assert "| ranking accuracy | " in page.data
    assert page.data.count("data:image/svg+xml;base64,") == 2
    assert (bench.home / "home" / "reports" / "bench.svg").read_text().lstrip().startswith("<?xml")


def test_generation_and_judging_are_tasks_that_overlap(bench, monkeypatch):
    """Prevents a run page that hides one of the two, and an overlap in name only."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    bench.set("prompts", per_round=8)
    judged, original = threading.Event(), RankingStore.add

    def add_rankings(rankings, *rows):
        original(rankings, *rows)
        judged.set()

    monkeypatch.setattr(RankingStore, "add", add_rankings)
    calls = in_second_batch(monkeypatch, lambda: judged.wait(LONG))
    code, output = bench.run()
    assert code == 0, output
    assert judged.is_set()
    assert len(calls) > 2
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["align-bench"])), sort="START_TIME_DESC", limit=1
        )
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [runs[0].id]}))
    spans = {each.name: (each.start_time, each.end_time) for each in tasks if each.state.is_completed()}
    assert spans["judge-round-1"][0] < spans["generate-round-1"][1] <= spans["judge-round-1"][1]


def test_an_error_ends_in_one_message_and_the_same_command_resumes(bench):
    """Prevents a traceback in the terminal, and a round that is paid for twice."""
    bench.judge.status = lambda number: 401
    code, output = bench.run()
    assert code == 1
    assert "JudgeUnavailable" in output
    assert "TEST_JUDGE_KEY" in output
    assert "Traceback" not in output
    bench.judge.status = None
    code, output = bench.run()
    assert code == 0, output
    assert len(bench.rounds()) == 1
    assert max(bench.judge.answered.values()) == 1
