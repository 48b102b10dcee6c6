"""The judge's key stays in the process: everything that a run leaves behind is searched for it."""

import os
import threading
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.support.local_judge import LocalJudge


class Indiscreet(LocalJudge):
    """Quotes the key that it was given: in errors, in replies, in its model's name."""

    def reply(self, raw):
        status, body = super().reply(raw)
        key = self.headers[-1].removeprefix("Bearer ")
        number = sum(self.asked.values())
        if number and number % 5 == 0:  # 0: the check before the run, which has to pass
            return 400, {"error": {"message": f"Incorrect API key provided: {key}", "type": "x", "code": key}}
        if number % 7 == 0:
            body["choices"][0]["message"]["refusal"] = f"I will not work for {key}"
        body["model"] = f"model-of-{key}"
        if number % 3 == 0:
            body["choices"][0]["message"]["content"] += f"\nYour key is {key}"
        return status, body


@pytest.fixture
def bench(flow_bench):
    """All runs here are runs of the flow."""
    return flow_bench


@pytest.fixture
def secret():
    return f"sk-{uuid4().hex}"


@pytest.fixture
def seen_commands():
    """The command lines of all processes, looked at all the while."""
    seen, done = set(), threading.Event()

    def look():
        while not done.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(process.info["cmdline"] or []))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield seen
    done.set()
    thread.join()


def holding(secret, folders):
    """The files that hold the secret, in any form that a file is likely to hold it."""
    forms = [form for text in (secret, secret[-20:]) for form in (text.encode(), text.encode("utf-16-le"))]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def prefect_folder():
    """Return the folder in which the tests' Prefect server keeps its database."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    return Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2]).parent


def flushed():
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()


@pytest.mark.parametrize("source", ["environment", "block"])
def test_nothing_that_a_run_leaves_behind_holds_the_key(bench, secret, seen_commands, monkeypatch, source, tmp_path):
    """Prevents a key in the database, in a log, in an artifact, in a message or in the process list."""
    with Indiscreet() as judge:
        bench.set("judge", base_url=judge.url, min_judged=0.0, retries=0)
        if source == "environment":
            monkeypatch.setenv("TEST_JUDGE_KEY", secret)
        else:
            monkeypatch.delenv("TEST_JUDGE_KEY")
            name = store_block(secret)
            bench.set("judge", api_key_block=name)
        code, output = bench.run(rounds=1)
        assert code == 0, output
        assert judge.headers[0] == f"Bearer {secret}"

        class Refusing(Indiscreet):
            def reply(self, raw):
                if not self.pings:  # the check before the run has to pass, so that the run itself is refused
                    return super().reply(raw)
                key = self.headers[-1]
                return 401, {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}}

        with Refusing() as refusing:
            bench.set("judge", base_url=refusing.url)
            code, failed = bench.run(rounds=1)
    assert code == 1
    assert "refuses the key" in failed
    _, failures = bench.command("history", "bench", "--failures")
    assert "[key]" in failures
    flushed()
    assert secret not in output + failed + failures
    assert not any(secret in command for command in seen_commands)
    assert any("pytest" in command for command in seen_commands)
    assert holding("refuses the key in TEST_JUDGE_KEY", [prefect_folder()]), "the search finds what is there"
    assert holding(secret, [bench.home, prefect_folder()]) == []


def store_block(secret):
    from prefect.blocks.system import Secret

    name = f"judge-{uuid4().hex[:8]}"
    Secret(value=secret).save(name)
    return name


def test_a_key_in_the_judges_address_is_refused_and_not_repeated(bench, secret):
    """Prevents a key in the stored settings: `http://user:key@host`, or `?key=...`."""
    for address in (f"http://user:{secret}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={secret}"):
        bench.set("judge", base_url=address)
        code, output = bench.run()
        assert code == 1
        assert "judge.base_url" in output
        assert secret not in output
    assert os.environ.get("TEST_JUDGE_KEY") == "a-very-secret-key"
