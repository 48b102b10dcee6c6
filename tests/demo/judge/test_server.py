"""The simulated judge as a process: protocol, key, log, simulated faults, and shutdown."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from cyclealign.demo.judge.faults import Fault
from cyclealign.demo.judge.model import count_tokens
from cyclealign.demo.judge.process import SimulatedJudge
from cyclealign.errors import BadConfig, JudgeUnavailable

pytestmark = pytest.mark.slow

ASKED = """[[question q1]]
How?
[[/question q1]]
[[answer A q1]]
So.
[[/answer A q1]]
[[answer B q1]]
No.
[[/answer B q1]]"""


def post(judge, text=ASKED, **headers):
    body = {"model": "simulated-judge", "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{judge.base_url}/chat/completions", json=body, headers=headers)


def content(response):
    return response.json()["choices"][0]["message"]["content"]


def test_it_speaks_the_chat_completions_protocol(tmp_path):
    """Prevents a judge that only this project's client understands."""
    with SimulatedJudge(log=tmp_path / "log") as judge:
        reply = post(judge).json()
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert sorted(json.loads(reply["choices"][0]["message"]["content"])["ranking"]) == ["A", "B"]
        assert reply["usage"]["prompt_tokens"] == count_tokens(ASKED)
        assert reply["usage"]["total_tokens"] == sum(
            reply["usage"][part] for part in ("prompt_tokens", "completion_tokens")
        )
        assert httpx.get(f"{judge.base_url}/models").json()["data"][0]["id"] == "simulated-judge"
        assert httpx.get(judge.base_url.replace("/v1", "/health")).json()["status"] == "ok"
        assert httpx.post(f"{judge.base_url}/chat/completions", content=b"{").status_code == 400


def test_the_log_has_one_line_per_ranking_and_equal_hashes_for_equal_requests(tmp_path):
    """Prevents repeated calls from going unnoticed in the crash tests."""
    log = tmp_path / "log"
    with SimulatedJudge(log=log, faults=["status:500:every:3"]) as judge:
        statuses = [post(judge).status_code for _ in range(3)]
        post(judge, "nothing to rank")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert statuses == [200, 200, 500]
    assert len(lines) == 2
    assert lines[0]["request"] == lines[1]["request"]
    assert lines[0]["answers"] == 2


def test_a_key_is_required_only_if_one_is_set():
    """Prevents tests of wrong keys that pass because keys are never checked."""
    with SimulatedJudge(key="open sesame") as judge:
        assert post(judge).status_code == 401
        assert post(judge, Authorization="Bearer open sesame").status_code == 200
    with SimulatedJudge() as judge:
        assert post(judge, Authorization="Bearer whatever").status_code == 200


def test_simulated_faults_affect_replies_and_say_so():
    """Prevents fault options without effect."""
    with SimulatedJudge(faults=["garbage:every:2", "incomplete:every:3", "status:503:every:4"]) as judge:
        replies = [post(judge) for _ in range(4)]
    assert sorted(json.loads(content(replies[0]))["ranking"]) == ["A", "B"]
    assert "{" not in content(replies[1])
    assert len(json.loads(content(replies[2]))["ranking"]) == 1
    assert replies[3].status_code == 503
    assert "simulated" in replies[3].json()["error"]["message"]


@pytest.mark.parametrize("text", ["status", "status:200", "slow:soon", "garbage:every:0", "explode"])
def test_an_invalid_fault_is_rejected_by_name(text):
    """Prevents a mistyped fault from testing nothing."""
    with pytest.raises(BadConfig, match=text):
        Fault.parse(text)


def test_a_judge_that_cannot_start_says_why():
    """Prevents waiting forever for a process that has ended."""
    with SimulatedJudge() as judge:
        port = int(judge.base_url.split(":")[2].split("/")[0])
        with pytest.raises(JudgeUnavailable, match="in use"), SimulatedJudge(port=port):
            pass


def test_the_judge_ends_with_a_parent_that_is_killed():
    """Prevents judge processes that outlive a crash."""
    code = (
        "import time; from cyclealign.demo.judge.process import SimulatedJudge\n"
        "with SimulatedJudge() as judge: print(judge.base_url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        health = parent.stdout.readline().strip().replace("/v1", "/health")
        assert httpx.get(health).status_code == 200
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(health)


def gone(address, patience_seconds=20):
    for _ in range(patience_seconds * 10):
        try:
            httpx.get(address)
        except httpx.TransportError:
            return True
        time.sleep(0.1)
    return False


def test_the_ready_file_appears_whole_with_the_address(tmp_path):
    """Prevents readers from seeing a partial address."""
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "cyclealign.demo.judge.process", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{printed['port']}/health").status_code == 200
        assert json.loads(ready.read_text()) == printed
        process.terminate()
