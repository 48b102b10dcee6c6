"""`cyclealign doctor`: what a config needs and this machine has, or lacks; the database is made if it is not there."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cyclealign.config import EngineSettings, ExperimentConfig
from cyclealign.errors import CycleAlignError, EngineFailed
from cyclealign.loop.backends import backend_of
from cyclealign.policy.vllm_client import EngineClient, EngineGone
from cyclealign.policy.vllm_command import WANTS_OUR_OWN
from cyclealign.policy.vllm_server import interpreter_of
from cyclealign.store import Store

IMPORT_SECONDS = 180.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``missing``: the config needs it and it is not there; ``says`` tells what to do."""

    what: str
    says: str
    missing: bool = False


def examine(config: ExperimentConfig) -> list[Finding]:
    """Look at everything; nothing raises."""
    return [database(), model(config), judge(config), *engine(config), gpu()]


def database() -> Finding:
    """Whether the history can be opened."""
    try:
        with Store.open() as store:
            return Finding("database", f"{store.engine.url!r}")
    except CycleAlignError as error:
        return Finding("database", str(error), missing=True)


def model(config: ExperimentConfig) -> Finding:
    """Whether the policy's model is here and may be loaded."""
    name = config.policy.model
    if name == "demo":
        return Finding("model", "the demo's own, trained on first use")
    from cyclealign.policy.model_safety import refuse_unsafe

    try:
        refuse_unsafe(name, config.policy.revision, config.policy.remote_code_trusted)
    except CycleAlignError as error:
        return Finding("model", str(error), missing=True)
    if Path(name).is_dir():
        return Finding("model", str(Path(name).absolute()))
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return Finding("model", f"{name} is not a folder here; it is fetched from the hub on first use")
    return Finding("model", f"There is no folder {name}. Set policy.model.", missing=True)


def judge(config: ExperimentConfig) -> Finding:
    """Whether the judge's key can be had; its value is not looked at."""
    settings = config.judge
    backend = backend_of(settings)
    if not backend.needs_key:
        return Finding("judge", f"{settings.kind}, needs no key")
    where = backend.location
    if os.environ.get(settings.api_key_variable):
        return Finding("judge", f"{settings.model} at {where}, key in {settings.api_key_variable}")
    if settings.api_key_block:
        return Finding("judge", f"{settings.model} at {where}, key in the Secret block '{settings.api_key_block}'")
    return Finding("judge", f"No key: set the environment variable {settings.api_key_variable}.", missing=True)


def engine(config: ExperimentConfig) -> Iterator[Finding]:
    """vLLM: the server that is there, or the environment from which one is started."""
    needed = config.policy.kind == "vllm"
    if config.engine.base_url and needed:
        whole = config.training.method == "full"
        refused = Finding("vLLM", WANTS_OUR_OWN, missing=True)
        yield refused if whole else remote(config.engine, config.engine.base_url)
        return
    try:
        python = interpreter_of(config.engine)
    except EngineFailed as error:
        yield Finding("vLLM", str(error) if needed else "absent, and not needed: `make vllm` installs it", needed)
        return
    yield vllm_in(python, needed)


def remote(settings: EngineSettings, url: str) -> Finding:
    """Whether a vLLM server answers there, with our key."""
    key = os.environ.get(settings.api_key_variable, "")
    with EngineClient(url.rstrip("/").removesuffix("/v1"), key, 20.0) as client:
        try:
            names = ", ".join(each["id"] for each in client.models())
        except (EngineGone, CycleAlignError) as error:
            advice = f"Start it, or set engine.base_url and {settings.api_key_variable}."
            return Finding("vLLM", f"{url}: {error} {advice}", missing=True)
    return Finding("vLLM", f"{url} serves {names}")


def vllm_in(python: str, needed: bool) -> Finding:
    """Whether that interpreter can import vLLM."""
    code = "import vllm; print(vllm.__version__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], env=environment, capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("vLLM", f"{python}: {error}. Run `make vllm`.", needed)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("vLLM", f"{python} cannot import vllm ({last}). Run `make vllm`.", needed)
    return Finding("vLLM", f"{done.stdout.strip().splitlines()[-1]} in {python}")


def gpu() -> Finding:
    """The GPUs that the driver's tool lists; none is no fault: everything runs on a CPU, slowly."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "none (no nvidia-smi): policy, vLLM and training run on the CPU")
    done = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True, text=True
    )
    if done.returncode != 0:
        return Finding("GPU", f"nvidia-smi fails: {done.stdout.strip() or done.stderr.strip()}", missing=True)
    return Finding("GPU", "; ".join(done.stdout.strip().splitlines()))
