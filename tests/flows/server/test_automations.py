"""Automations on a real server: a round's event sends a notification and starts a deployment."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.launched import Launched, launched, until

pytestmark = pytest.mark.launch

FLOW = '''
from pathlib import Path
from prefect import flow

@flow(name="pld")
def pld(seed: int = 0):
    """Leave a file, so that the start of the run is seen."""
    with Path("starts.txt").open("a") as starts:
        print(seed, file=starts)
'''
DEPLOYMENTS = """
name: trial
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $CYCLEALIGN_FOLDER }}"
deployments:
  - name: pld
    entrypoint: job_flow.pld
    tags: [cyclealign]
    work_pool: {name: local}
"""
BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
message = {"subject": "{{subject}}", "body": "{{body}}"}
CustomWebhookNotificationBlock(name="inbox", url=sys.argv[1], json_data=message).save("inbox")
"""
EVENTS = """
from types import SimpleNamespace
from flows.events import report_event, report_round
round_ = SimpleNamespace(experiment="mine", number=3)
report_round(round_, "rolled_back", "the parent is better")
report_event("prompts-low", round_, "4 unused prompts")
report_round(SimpleNamespace(experiment="other", number=9), "accepted", "better")
report_round(round_, "accepted", "win rate 0.61")
"""


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield an address and the messages that arrive there."""
    messages: list[dict[str, Any]] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", messages
    server.shutdown()
    server.server_close()


def python(site: Launched, *arguments: str) -> str:
    """Run Python as a client of the site's server and return its output."""
    environment = {**site.environment, "PREFECT_API_URL": f"{site.url}/api"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=site.folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_accepted_round_notifies_and_starts_a_job(tmp_path: Path, inbox: Any) -> None:
    """Prevents automations that look right in the UI and never act, or act on other experiments' rounds."""
    url, messages = inbox
    (tmp_path / "job_flow.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    cyclealign = ("-m", "cyclealign.cli.main", "automate")
    with launched(tmp_path) as site:
        site.begin()
        python(site, "-c", BLOCK, url)
        wanted = ("--event", "cyclealign.round.accepted", "--event", "cyclealign.prompts-low")
        for _ in range(2):  # the second one replaces the first
            python(site, *cyclealign, "notify", "custom-webhook/inbox", *wanted, "--experiment", "mine")
        job = ("distill", "pld", "--experiment", "mine", "--parameters", '{"seed": 7}')
        assert "is on" in python(site, *cyclealign, *job)
        made = site.ask("POST", "/automations/filter", {})
        assert sorted(each["name"] for each in made if "automate" in each["description"]) == [
            "cyclealign: notify custom-webhook/inbox of mine",
            "cyclealign: run pld/pld after an accepted round of mine",
        ]
        # The server takes an automation into account a moment after it was made, so events may be sent once more.
        until("the first message", lambda: python(site, "-c", EVENTS) or messages)
        started = tmp_path / "starts.txt"
        until("the job", started.is_file)
        assert set(started.read_text().split()) == {"7"}
        assert {message["subject"] for message in messages} <= {
            "cyclealign.prompts-low: mine",
            "cyclealign.round.accepted: mine",
        }
        until("the verdict", lambda: any("win rate 0.61" in message["body"] for message in messages))
        assert all(message["body"].startswith("Experiment mine, round 3: ") for message in messages)
        site.end()
