"""`cyclealign up` with a real server, worker and runs: registration, schedules, errors, interruption, recovery."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.launched import Launched, alive, launched, until

pytestmark = pytest.mark.launch

FLOW = '''
import logging
import time
from pathlib import Path
from typing import Any
from prefect import flow

log = logging.getLogger("cyclealign.trial")
log.setLevel(logging.INFO)

@flow(name="trial")
def trial(until: str | None = None):
    """Wait for a file of that name, in the folder where `up` was started."""
    log.info("working in %s", Path.cwd())
    with open("starts.txt", "a") as starts:
        print(until, file=starts)
    while until and not Path(until).exists():
        time.sleep(0.1)
'''

DEPLOYMENTS = """
name: trial
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $CYCLEALIGN_FOLDER }}"
deployments:
  - name: trial
    entrypoint: trial_flow.trial
    tags: [cyclealign]
    work_pool: {name: local}
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A folder with a deployment of a flow that waits; each test sees to it that it is up."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "trial_flow.py").write_text(FLOW)
    (folder / "prefect.yaml").write_text(DEPLOYMENTS)
    with launched(folder) as one:
        yield one


def up_in(folder: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to be refused."""
    command = [sys.executable, "-m", "cyclealign.cli.main", "up", "--port", str(port)]
    base = Launched(folder).environment
    return subprocess.run(command, cwd=folder, env={**base, **environment}, capture_output=True, text=True, timeout=120)


def test_everything_is_there_after_a_start(site: Launched) -> None:
    """Prevents a UI that looks healthy, with a deployment that nobody serves or that piles up runs."""
    deployment = site.begin().deployment("trial/trial")
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert httpx.get(site.url).status_code == 200
    assert [each["name"] for each in site.ask("POST", "/automations/filter", {})] == [
        "cyclealign: a run whose process vanished is Crashed"
    ]
    until("the worker", lambda: site.ask("POST", "/work_pools/local/workers/filter", {}))


def test_the_server_is_for_this_machine_and_its_own_pages_only(site: Launched) -> None:
    """Prevents a page on the web, open in the user's browser, from starting runs here."""
    site.begin()
    asked = httpx.options(
        f"{site.url}/api/deployments/filter",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in asked.headers
    listening = [
        each.laddr.ip for process in site.family() for each in process.net_connections("tcp") if not each.raddr
    ]
    assert set(listening) == {"127.0.0.1"}


def test_the_pages_over_the_history_are_served_with_a_token_of_this_home(site: Launched) -> None:
    """Prevents links in reports that lead nowhere, an address that the terminal cuts off, and a token in a log."""
    token = (site.home / "browse-token").read_text()
    pages = f"http://127.0.0.1:{site.port + 1}"
    assert f"{pages}/?token={token}" in site.said

    def answers() -> int:
        with suppress(httpx.TransportError):
            return httpx.get(f"{pages}/").status_code
        return 0

    assert until("the pages answer", answers) == 403
    assert httpx.get(f"{pages}/?token={token}", follow_redirects=True).status_code == 200
    assert token not in (site.home / "logs" / "browse.log").read_text()


def test_a_run_works_in_the_folder_and_its_log_holds_the_librarys_messages(site: Launched) -> None:
    """Prevents runs in a temporary copy, where templates and relative paths are missing, and empty logs."""
    run_id = site.begin().start_run("trial/trial")
    site.wait_for_state(run_id, "Completed")
    assert (site.folder / "starts.txt").exists()

    def message() -> bool:
        logs = site.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
        return any(each["message"] == f"working in {site.folder}" for each in logs)

    until("the library's message in the run's log", message)


def test_a_second_start_is_refused_by_name(site: Launched) -> None:
    """Prevents a second worker that would take the first one's running flow for an interrupted one."""
    site.begin()
    second = up_in(site.folder, site.port)
    assert second.returncode == 1
    assert "already up" in " ".join(second.stdout.split())
    assert site.url in "".join(second.stdout.split())


def test_a_run_beside_a_running_one_is_cancelled(site: Launched) -> None:
    """Prevents schedules that fire faster than rounds end from piling up runs."""
    first = site.begin().start_run("trial/trial", until="first")
    site.wait_for_state(first, "Running")
    second = site.start_run("trial/trial")
    cancelled = site.wait_for_state(second, "Cancelled")
    assert "concurrency limit" in cancelled["state"]["message"]
    (site.folder / "first").touch()
    site.wait_for_state(first, "Completed")


def test_a_killed_launcher_takes_its_children_along_and_the_next_start_repairs(site: Launched) -> None:
    """Prevents servers and workers without an owner, and a dead run that holds the only slot against new ones.

    Prevents also schedules of the UI that a start deletes or resets, and a firing that takes the interrupted run's
    place.
    """
    deployment = site.begin().deployment("trial/trial")["id"]
    yearly = {"schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"}, "active": True}
    paused = {"schedule": {"interval": 5.0}, "active": False}
    made = site.ask("POST", f"/deployments/{deployment}/schedules", [yearly, paused])
    edited = {"schedule": {"cron": "30 3 2 2 *", "timezone": "UTC"}, "active": True}
    site.ask("PATCH", f"/deployments/{deployment}/schedules/{made[0]['id']}", edited)
    run_id = site.start_run("trial/trial", until="second")
    site.wait_for_state(run_id, "Running")
    often = site.schedule("trial/trial", until=None)
    firing = min(until("a scheduled run", lambda: scheduled(site)), key=due)

    site.end(signal.SIGKILL)
    until("the scheduled time", lambda: datetime.now(UTC) > due(firing))
    site.begin()

    assert "resumes now" in site.said
    site.ask("DELETE", f"/deployments/{deployment}/schedules/{often}")
    kept = {each["id"]: each for each in site.deployment("trial/trial")["schedules"]}
    assert kept[made[0]["id"]]["schedule"]["cron"] == "30 3 2 2 *"
    assert not kept[made[1]["id"]]["active"]
    assert len(site.ask("POST", "/automations/filter", {})) == 1
    (site.folder / "second").touch()
    assert site.wait_for_state(run_id, "Completed")["run_count"] == 2
    states = site.states_of(run_id)
    assert states[states.index("Crashed") + 1] == "AwaitingRetry"
    assert site.run(firing["id"])["state"]["name"] == "Cancelled"


def test_a_server_and_a_worker_that_are_killed_together_lose_no_run(site: Launched) -> None:
    """Prevents a run that stays Crashed, or two processes at work on it, after the machine killed both of them.

    Prevents also a file that the killed run left with its environment, in which the judge's key is.
    """
    run_id = site.begin().start_run("trial/trial", until="third")
    site.wait_for_state(run_id, "Running")
    held = list((site.home / "tmp").rglob("workspace.json"))
    assert held
    assert (site.home / "tmp").stat().st_mode & 0o077 == 0
    for child in site.family():
        if {"server", "worker"} & set(child.cmdline()):
            child.kill()
    until("the end of up", site.ended)
    assert not any(path.exists() for path in held)
    site.begin()
    until("the second start of the run", lambda: site.run(run_id)["state"]["name"] == "Running")
    (site.folder / "third").touch()
    assert site.wait_for_state(run_id, "Completed")["run_count"] == 2


def scheduled(site: Launched) -> list[dict[str, Any]]:
    """Runs that a schedule has made for the days to come."""
    soon = datetime.now(UTC) + timedelta(days=1)
    return [run for run in site.runs() if run["auto_scheduled"] and due(run) < soon]


def due(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"].replace("Z", "+00:00"))


def test_a_server_that_was_there_is_used_and_left_alone(site: Launched, tmp_path: Path) -> None:
    """Prevents `up` from stopping, at its own end, a server that others use."""
    site.begin()
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    (tmp_path / "trial_flow.py").write_text(FLOW)
    with launched(tmp_path, {"PREFECT_API_URL": f"{site.url}/api"}) as guest:
        guest.begin()
        assert "already running" in guest.said
        assert [name for name in ("server.log", "worker.log") if (guest.home / "logs" / name).exists()] == [
            "worker.log"
        ]
        assert guest.end(signal.SIGTERM) == 0
    assert httpx.get(f"{site.url}/api/health").json() is True


def test_an_ended_worker_is_reported_and_nothing_stays_behind(site: Launched) -> None:
    """Prevents an `up` that looks fine while nothing takes the runs."""
    site.begin()
    worker = next(each for each in site.family() if "worker" in each.cmdline())
    family = [each.pid for each in site.family()]
    worker.kill()
    until("the end of up", site.ended)
    assert "worker has ended" in " ".join(site.said.split())
    until("the end of its children", lambda: not any(alive(pid) for pid in family))


def test_a_port_that_something_else_uses_is_a_clear_error(tmp_path: Path) -> None:
    """Prevents a start that waits for ever for a web server that is not Prefect's."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    refused = up_in(tmp_path, server.server_port)
    server.shutdown()
    server.server_close()
    assert refused.returncode == 1
    assert "not a Prefect server" in " ".join(refused.stdout.split())
    assert "Traceback" not in refused.stdout + refused.stderr


def test_a_server_that_the_user_names_and_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    """Prevents a second, empty server from being started in place of the one that was meant."""
    refused = up_in(tmp_path, 1, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert refused.returncode == 1
    assert "PREFECT_API_URL" in refused.stdout
