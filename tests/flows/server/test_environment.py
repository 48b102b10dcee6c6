"""The environment and registrations of `cyclealign up`, without starting anything."""

from pathlib import Path

import pytest
import yaml

from cyclealign.distill.registry import JOBS
from cyclealign.errors import StoreError
from flows.server.environment import FOLDER_VARIABLE, CannotStart, ServerConfig, home_lock
from tests.support.paths import ROOT


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerConfig:
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return ServerConfig.here(4321)


def test_paths_are_absolute_for_processes_that_work_elsewhere(
    server: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a worker that starts a second, empty database in its own folder."""
    monkeypatch.setenv("CYCLEALIGN_HOME", "elsewhere")
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", "sqlite:///rounds.db")
    environment = ServerConfig.here(4321).worker_environment()
    assert environment["CYCLEALIGN_HOME"] == str(server.folder / "elsewhere")
    assert environment["CYCLEALIGN_DATABASE_URL"] == f"sqlite:///{server.folder / 'rounds.db'}"
    assert environment[FOLDER_VARIABLE] == str(server.folder)


def test_a_password_with_signs_reaches_the_worker_as_it_was(
    server: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a password that is masked or decoded on its way to the worker."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", "postgresql://me:p%40ss%2Fword@db/rounds")
    assert "me:p%40ss%2Fword@db/rounds" in server.worker_environment()["CYCLEALIGN_DATABASE_URL"]


def test_a_database_url_that_cannot_be_read_is_refused_before_anything_starts(
    server: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a UI that comes up although every run in it must fail."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", "mysql://db/rounds")
    with pytest.raises(StoreError):
        server.worker_environment()


def test_what_the_user_has_set_stays(server: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a start that overrules the user's Prefect settings, or sends telemetry where nothing was set."""
    assert server.environment()["DO_NOT_TRACK"] == "1"
    assert server.environment()["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    monkeypatch.setenv("PREFECT_HOME", "/somewhere")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "30")
    environment = server.environment()
    assert (environment["PREFECT_HOME"], environment["PREFECT_WORKER_QUERY_SECONDS"]) == ("/somewhere", "30")


def test_the_folder_is_not_fixed_when_the_deployments_are_registered(
    server: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents deployments that hold a path of this machine, and fail on every other one."""
    monkeypatch.setenv(FOLDER_VARIABLE, "/of/this/machine")
    assert FOLDER_VARIABLE not in server.environment()


def test_a_home_is_held_by_one_at_a_time_and_free_afterwards(server: ServerConfig) -> None:
    """Prevents two workers of one home, and a lock that outlives its holder."""
    with home_lock(server), pytest.raises(CannotStart, match="already up"), home_lock(server):
        pass
    with home_lock(server):
        pass


def test_the_deployments_keep_what_people_set_in_the_ui_and_hold_no_path() -> None:
    """Prevents a `schedules:` key, with which every start would delete the schedules of the UI."""
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    for deployment in yaml.safe_load(text)["deployments"]:
        assert not {"schedules", "schedule"} & set(deployment)
        assert "cyclealign" in deployment["tags"]
        assert "(/artifacts)" in deployment["description"]
        assert ":" not in deployment["entrypoint"]
    assert str(ROOT) not in text


def test_no_run_that_may_pause_has_a_limit_of_prefect_and_every_job_has_one() -> None:
    """Prevents a run that is cancelled 225 seconds after it was paused for review: a pause releases its lease."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    limits = {deployment["name"]: deployment["concurrency_limit"] for deployment in deployments}
    assert {name for name, limit in limits.items() if limit is None} == {"align", "demo", "abandon"}
    jobs = [limit for limit in limits.values() if limit is not None]
    assert jobs == [{"limit": 1, "collision_strategy": "CANCEL_NEW"}] * (len(JOBS) + 1)  # and housekeeping
