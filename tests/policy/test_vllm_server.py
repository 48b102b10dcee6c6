"""A managed server without vLLM: its process, command line and key, and the models that are refused."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.errors import BadConfig, EngineFailed, PolicyError
from cyclealign.policy import vllm_lifecycle, vllm_supervisor
from cyclealign.policy.inside_vllm.require_key import RequireKey
from cyclealign.policy.model_safety import refuse_unsafe
from cyclealign.policy.vllm_command import ServedModel, checked_flags
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.policy.vllm_server import ManagedServer, root_error_in
from cyclealign.records import Prompt
from tests.support.launched import alive, until
from tests.support.tiny import make_model

SETTINGS = PolicySettings(kind="vllm")
SERVED = ServedModel("/nowhere/model", None, 16, ("q_proj",))
SLEEPER = "import time; time.sleep(600)"
# A stand-in for vLLM's server, which starts an engine process of its own.
SERVER = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True); "


def supervised(command: str, log: Path) -> str:
    """A program that starts the supervisor as a run does, and keeps running."""
    return (
        "import subprocess, sys, time\n"
        f"with open({str(log)!r}, 'wb') as output:\n"
        f"    command = [sys.executable, '-I', {vllm_supervisor.__file__!r}, sys.executable, '-c', {command!r}]\n"
        "    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, start_new_session=True)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )


@pytest.mark.parametrize("command", [SERVER + "time.sleep(600)", SERVER + "sys.exit(3)"])
def test_the_engine_process_ends_with_the_run_and_with_its_server(command, tmp_path):
    """Prevents engines that hold GPU memory after the run was killed or their server crashed."""
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
def test_reserved_flags_are_refused(flag):
    """Prevents a flag, also an abbreviated one, from opening the server to the network or to remote code."""
    with pytest.raises(BadConfig, match="set by the run itself"):
        checked_flags(EngineSettings(flags=(flag, "x")))


def test_other_flags_pass_unchanged():
    """Prevents a flag of the user from being dropped."""
    flags = ("--tensor-parallel-size", "4", "--max-num-seqs=8")
    assert checked_flags(EngineSettings(flags=flags)) == list(flags)


def test_a_taken_port_is_reported(tmp_path, monkeypatch):
    """Prevents requests from going to another server on the configured port."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EngineFailed, match=rf"Port {port} on 127\.0\.0\.1 is taken.*engine\.port"):
            ManagedServer(EngineSettings(port=port, python=sys.executable), SERVED)


def test_a_missing_interpreter_is_reported(tmp_path, monkeypatch):
    """Prevents a message that does not say how to install vLLM."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    with pytest.raises(EngineFailed, match="make vllm"):
        ManagedServer(EngineSettings(python=str(tmp_path / "python")), SERVED)


def test_an_interpreter_without_vllm_is_reported_with_its_own_error(tmp_path, monkeypatch):
    """Prevents a traceback of the app, or an endless wait, if the server exits at once."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    server = ManagedServer(EngineSettings(python=sys.executable), SERVED)
    with pytest.raises(EngineFailed, match="No module named 'vllm'"):
        server.wait_until_ready()
    server.stop()
    assert not psutil.pid_exists(server.pid)


LOG = """(APIServer pid=1) INFO 11-21 06:00:10 [api_utils.py:286] non-default args: {}
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15]   File "x.py", line 1, in f
(EngineCore pid=2) ERROR 11-21 06:00:40 [core.py:15] ValueError: To serve at least one request, 3 GiB are needed.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
[supervisor] The command exited with status 1.
"""


def test_the_root_error_is_found_in_vllms_log():
    """Prevents a message that only says "see root cause above"."""
    assert root_error_in(LOG) == "ValueError: To serve at least one request, 3 GiB are needed."
    child = (
        "subprocess.CalledProcessError: Command '[...]' returned 1.\nModuleNotFoundError: No module named 'torchvision'"
    )
    assert root_error_in(child) == "ModuleNotFoundError: No module named 'torchvision'"
    assert root_error_in("one\ntwo\n[supervisor] The command exited with status 1.\n") == "one\ntwo"
    assert root_error_in("") == "no output"
    assert root_error_in("x.ValidationError: 1 error\n  Value error, no sleep here.\nmore") == (
        "x.ValidationError: 1 error Value error, no sleep here."
    )


def status_of(headers):
    """Return the middleware's status, or "passed"."""
    sent = []

    async def app(scope, receive, send):
        sent.append("passed")

    async def send(message):
        sent.append(message.get("status"))

    asyncio.run(RequireKey(app)({"type": "http", "headers": headers}, None, send))
    return sent[0]


def test_every_path_requires_the_key(monkeypatch):
    """Prevents the development paths, which vLLM leaves open, from serving any program on the machine."""
    monkeypatch.setenv("VLLM_API_KEY", "the-key")
    assert status_of([(b"authorization", b"Bearer the-key")]) == "passed"
    assert status_of([]) == 401
    assert status_of([(b"authorization", b"Bearer the-ke")]) == 401


def test_models_with_remote_code_run_only_if_their_name_is_repeated(tmp_path):
    """Prevents a model folder from running code in the engine, whatever the engine's own setting does."""
    config = make_model(tmp_path) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    settings = PolicySettings(kind="vllm", model=str(tmp_path))
    with pytest.raises(PolicyError, match=r"auto_map.*trust_remote_code"):
        VllmPolicy(settings, EngineSettings(), str(tmp_path), TrainingSettings())
    named = settings.model_copy(update={"trust_remote_code": str(tmp_path)})
    assert named.remote_code_trusted
    assert not named.model_copy(update={"trust_remote_code": "another/model"}).remote_code_trusted
    refuse_unsafe(str(tmp_path), None, named.remote_code_trusted)


def test_a_folder_without_safetensors_is_refused_before_vllm_starts(tmp_path):
    """Prevents a pickle from being loaded."""
    (make_model(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"only pytorch_model\.bin"):
        VllmPolicy(
            PolicySettings(kind="vllm", model=str(tmp_path)), EngineSettings(), str(tmp_path), TrainingSettings()
        )


def test_a_missing_chat_template_is_reported_before_vllm_starts(tmp_path, monkeypatch):
    """Prevents minutes of waiting for a server that cannot be used."""
    monkeypatch.setattr(vllm_lifecycle, "ManagedServer", None)
    make_model(tmp_path, template=None)
    policy = VllmPolicy(
        PolicySettings(kind="vllm", model=str(tmp_path)), EngineSettings(), str(tmp_path), TrainingSettings()
    )
    with pytest.raises(PolicyError, match="has no chat template"):
        policy.answer([Prompt.of(({"role": "user", "content": "hello"},))], 2, seed=0)


def test_the_server_gets_its_own_key_and_no_other(monkeypatch):
    """Prevents the judge's key from being in the environment of a server that may print it in a crash."""
    monkeypatch.setenv("OPENAI_API_KEY", "the judge's")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    inherited = ManagedServer(EngineSettings(python=sys.executable), SERVED)._environment()
    assert "the judge's" not in inherited.values()
    assert inherited["CUDA_VISIBLE_DEVICES"] == "1"
    assert len(inherited["VLLM_API_KEY"]) >= 16
