"""Distillation runs: the same work is found again, other work is not; measures and the finish are one."""

import json

import pytest

from cyclealign.errors import NoSuchJob
from cyclealign.records import Metric
from cyclealign.store import Store

HASHES = ("config-1", "code-1")
MEASURES = [Metric("top-1", 0.875, arm="teacher"), Metric("top-1", 0.75, 0.5, 0.875, 40, arm="student")]


def opened(store: Store, hashes=HASHES, force=False, job="pld"):
    return store.distillations.open(job, {"seed": 3, "taus": [1, 2]}, hashes, 3, force)


def test_an_unfinished_run_goes_on_and_a_finished_one_is_found(store: Store) -> None:
    first = opened(store)
    assert not first.finished
    assert opened(store) == first
    store.distillations.finish(first.id, MEASURES)
    found = opened(store)
    assert (found.id, found.finished) == (first.id, True)
    assert store.distillations.metrics(found.id) == MEASURES


@pytest.mark.parametrize("hashes", [("config-2", "code-1"), ("config-1", "code-2")])
def test_other_settings_or_another_version_are_another_run(store: Store, hashes) -> None:
    """Prevents figures of old settings or of an old version from being shown as those of the new."""
    first = opened(store)
    store.distillations.finish(first.id, MEASURES)
    other = opened(store, hashes)
    assert other.id != first.id
    assert not other.finished
    assert not opened(store, job="leaf").finished


def test_force_opens_a_new_run_and_resumes_it(store: Store) -> None:
    first = opened(store)
    assert opened(store, force=True) == first
    store.distillations.finish(first.id, MEASURES)
    second = opened(store, force=True)
    assert second.id != first.id
    assert opened(store, force=True) == opened(store) == second


def test_a_second_finish_changes_nothing(store: Store) -> None:
    """Prevents two processes on the same run from mixing their measures."""
    run = opened(store)
    store.distillations.finish(run.id, MEASURES)
    store.distillations.finish(run.id, [Metric("top-1", 0.1, arm="student")])
    assert store.distillations.metrics(run.id) == MEASURES


def test_a_run_that_was_opened_again_keeps_its_measures_until_it_finishes_anew(store: Store) -> None:
    """Prevents figures of a student that is gone from standing beside a new one, and from vanishing before there is."""
    run = opened(store)
    store.distillations.record_student(run.id, "here", "hash")
    store.distillations.finish(run.id, MEASURES)
    store.distillations.reopen(run.id)
    again = opened(store)
    assert (again.id, again.finished, again.student_path) == (run.id, False, "here")
    assert store.distillations.metrics(run.id) == MEASURES
    anew = [Metric("top-1", 0.5, arm="student")]
    store.distillations.finish(run.id, anew)
    assert opened(store).finished
    assert store.distillations.metrics(run.id) == anew


def test_doubled_measures_are_refused_before_anything_is_written(store: Store) -> None:
    run = opened(store)
    with pytest.raises(ValueError, match="share arm and name"):
        store.distillations.finish(run.id, [*MEASURES, MEASURES[0]])
    assert not opened(store).finished


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measure_is_a_number(value) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        Metric("top-1", value, arm="student")


def test_history_is_json_and_the_view_has_a_row_a_measure(store: Store) -> None:
    run = opened(store)
    store.distillations.add_step_seconds(run.id, "fit", 1.5)
    store.distillations.add_step_seconds(run.id, "fit", 2.0)
    store.distillations.record_student(run.id, "here", "hash")
    store.distillations.finish(run.id, MEASURES)
    unfinished = opened(store, job="leaf")
    first, second = store.distillations.runs()
    assert json.loads(json.dumps([first, second])) == [first, second]
    assert (first["seconds"], first["steps"]) == (3.5, [{"step": "fit", "seconds": 3.5, "runs": 2}])
    assert (first["student_path"], first["student_hash"]) == ("here", "hash")
    assert [each["arm"] for each in first["measures"]] == ["teacher", "student"]
    rows = store.distillations.summary()
    assert [(row["job"], row["arm"], row["value"], row["seconds"]) for row in rows] == [
        ("pld", "teacher", 0.875, 3.5),
        ("pld", "student", 0.75, 3.5),
        ("leaf", None, None, None),
    ]
    assert [row["id"] for row in store.distillations.runs("leaf")] == [unfinished.id] == [second["id"]]
    with pytest.raises(NoSuchJob, match=r"'mse' \(known: leaf, pld\)"):
        store.distillations.runs("mse")


def test_a_run_of_a_hash_that_stood_for_the_same_version_is_the_same_work(store: Store) -> None:
    """Prevents runs of an earlier release from being done again, and their repeats from being counted anew."""
    first = opened(store, ("config-1", "sources"))
    store.distillations.finish(first.id, MEASURES)
    found = store.distillations.open("pld", {}, HASHES, 3, former_code_hashes=["sources"])
    assert (found.id, found.finished, found.code_hash) == (first.id, True, "sources")
    again = store.distillations.open("pld", {}, HASHES, 3, force=True, former_code_hashes=["sources"])
    assert (again.finished, again.code_hash, again.repeat) == (False, HASHES[1], 1)
    assert opened(store, ("config-1", "other")).id not in (first.id, again.id)
