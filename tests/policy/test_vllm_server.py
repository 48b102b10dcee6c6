"""What can be said of the engine without vLLM: its process, its flags, its key, and the models that are refused."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cyclealign.config import EngineSettings, PolicySettings
from cyclealign.errors import BadConfig, EngineFailed, PolicyError
from cyclealign.policy import vllm_lifecycle, vllm_supervisor
from cyclealign.policy.inside_vllm.require_key import RequireKey
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.vllm_command import ServedModel, checked_flags
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.policy.vllm_server import ManagedServer, root_error_in
from tests.support.launched import alive, until
from tests.support.tiny import make_model

SERVED = ServedModel("/nowhere/model", None, 16, ("q_proj",))
SLEEPER = "import time; time.sleep(600)"
# Stands for vLLM's server, which starts an engine process of its own.
SERVER = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True); "


def supervised(command: str, log: Path) -> str:
    """A program that starts the supervisor as a run does, and goes on."""
    return (
        "import subprocess, sys, time\n"
        f"with open({str(log)!r}, 'wb') as output:\n"
        f"    command = [sys.executable, '-I', {vllm_supervisor.__file__!r}, sys.executable, '-c', {command!r}]\n"
        "    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, start_new_session=True)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )


@pytest.mark.parametrize("command", [SERVER + "time.sleep(600)", SERVER + "sys.exit(3)"])
def test_no_process_of_the_engine_outlives_the_run_or_its_server(command, tmp_path):
    """Prevents engines that keep a GPU's memory after the run was killed, or after their own server crashed."""
    log = tmp_path / "log"
    run = subprocess.Popen([sys.executable, "-c", supervised(command, log)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    head = int(run.stdout.readline())
    grandchild = int(until("the engine process", lambda: log.read_text().split("\n")[0]))
    if "sys.exit" not in command:
        assert alive(head)
        assert alive(grandchild)
        run.send_signal(signal.SIGKILL)
    until("their end", lambda: not alive(head) and not alive(grandchild))
    run.kill()
    run.wait()
    run.stdout.close()


@pytest.mark.parametrize(
    "flag",
    [
        "--host",
        "--host=0.0.0.0",
        "--trust-remote-code",
        "--trust_remote_code",
        "--trust",
        "--api-key",
        "--api",
        "--config",
    ],
)
def test_flags_cannot_undo_what_keeps_the_server_safe(flag):
    """Prevents a flag, also a completed or respelt one, from opening the server to the network or to foreign code."""
    with pytest.raises(BadConfig, match="set by the run itself"):
        checked_flags(EngineSettings(flags=(flag, "x")))


def test_other_flags_pass_as_they_are():
    flags = ("--tensor-parallel-size", "4", "--max-num-seqs=8")
    assert checked_flags(EngineSettings(flags=flags)) == list(flags)


def test_a_port_that_is_taken_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EngineFailed, match=rf"Port {port} on 127\.0\.0\.1 is taken.*engine\.port"):
            ManagedServer(EngineSettings(port=port, python=sys.executable), SERVED)


def test_an_absent_interpreter_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    with pytest.raises(EngineFailed, match="make vllm"):
        ManagedServer(EngineSettings(python=str(tmp_path / "python")), SERVED)


def test_an_interpreter_without_vllm_ends_in_its_own_words(tmp_path, monkeypatch):
    """Prevents a traceback of ours, or an endless wait, where the engine's process ends at once."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    one = ManagedServer(EngineSettings(python=sys.executable), SERVED)
    with pytest.raises(EngineFailed, match="No module named 'vllm'"):
        one.wait_until_ready()
    one.stop()
    assert not psutil.pid_exists(one.pid)


LOG = """(APIServer pid=1) INFO 11-21 06:00:10 [api_utils.py:286] non-default args: {}
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15]   File "x.py", line 1, in f
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15] ValueError: To serve at least one request, 3 GiB are needed.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
[supervisor] The command exited with status 1.
"""


def test_the_reason_is_the_root_error_in_vllms_words():
    """Prevents "see root cause above" from being all that a person is told."""
    assert root_error_in(LOG) == "ValueError: To serve at least one request, 3 GiB are needed."
    assert root_error_in("one\ntwo\n[supervisor] The command exited with status 1.\n") == "one\ntwo"
    assert root_error_in("") == "no output"
    assert root_error_in("x.ValidationError: 1 error\n  Value error, no sleep here.\nmore") == (
        "x.ValidationError: 1 error Value error, no sleep here."
    )


def asked(headers):
    """The status that the middleware gives, or "passed"."""
    sent = []

    async def app(scope, receive, send):
        sent.append("passed")

    async def send(message):
        sent.append(message.get("status"))

    asyncio.run(RequireKey(app)({"type": "http", "headers": headers}, None, send))
    return sent[0]


def test_every_path_wants_the_key(monkeypatch):
    """Prevents the development paths, which vLLM leaves open, from answering whoever asks."""
    monkeypatch.setenv("VLLM_API_KEY", "the-key")
    assert asked([(b"authorization", b"Bearer the-key")]) == "passed"
    assert asked([]) == 401
    assert asked([(b"authorization", b"Bearer the-ke")]) == 401


def test_models_with_code_of_their_own_run_only_when_named_once_more(tmp_path):
    """Prevents a model folder from running code in the engine, whatever the engine makes of its own setting."""
    config = make_model(tmp_path) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    settings = PolicySettings(kind="vllm", model=str(tmp_path))
    with pytest.raises(PolicyError, match=r"auto_map.*trust_remote_code"):
        VllmPolicy(settings, EngineSettings(), str(tmp_path), 16)
    named = settings.model_copy(update={"trust_remote_code": str(tmp_path)})
    assert named.remote_code_trusted
    assert not named.model_copy(update={"trust_remote_code": "another/model"}).remote_code_trusted
    refuse_unsafe(str(tmp_path), None, named.remote_code_trusted)


def test_a_folder_without_safetensors_is_refused_before_vllm_starts(tmp_path):
    """Prevents a pickle from being loaded."""
    (make_model(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"only pytorch_model\.bin"):
        VllmPolicy(PolicySettings(kind="vllm", model=str(tmp_path)), EngineSettings(), str(tmp_path), 16)


def test_a_missing_chat_template_is_named_before_vllm_starts(tmp_path, monkeypatch):
    from cyclealign.records import Prompt

    monkeypatch.setattr(vllm_lifecycle, "ManagedServer", None)
    make_model(tmp_path, template=None)
    policy = VllmPolicy(PolicySettings(kind="vllm", model=str(tmp_path)), EngineSettings(), str(tmp_path), 16)
    with pytest.raises(PolicyError, match="has no chat template"):
        policy.answer([Prompt.of(({"role": "user", "content": "hello"},))], 2, seed=0)


def test_the_engine_gets_its_own_key_and_nobody_elses(monkeypatch):
    """Prevents the judge's key from lying in the environment of a server that may print it when it crashes."""
    monkeypatch.setenv("OPENAI_API_KEY", "the judge's")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    inherited = ManagedServer(EngineSettings(python=sys.executable), SERVED)._environment()
    assert "the judge's" not in inherited.values()
    assert inherited["CUDA_VISIBLE_DEVICES"] == "1"
    assert len(inherited["VLLM_API_KEY"]) >= 16
