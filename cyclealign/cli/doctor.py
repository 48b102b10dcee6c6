"""`cyclealign doctor`: check that this machine can run a config. The database is created if it is missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.config import EngineSettings, ExperimentConfig, load_config
from cyclealign.errors import CycleAlignError, EngineFailed
from cyclealign.files import EXAMPLES
from cyclealign.loop.backends import backend_of
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import interpreter_path
from cyclealign.policy.vllm_lifecycle import NEEDS_MANAGED_SERVER
from cyclealign.store import Store

IMPORT_SECONDS = 180.0
app = new_app()


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; default: the demo's.")] = None,
) -> None:
    """Check that this machine can run a config: database, model, judge's key, vLLM and GPU."""
    findings = examine(load_config(config or EXAMPLES / "demo.toml"))
    for finding in findings:
        console.print("missing" if finding.missing else "ok", style="red" if finding.missing else "green", end="  ")
        print_plain(f"{finding.subject}: {finding.message}")
    if any(finding.missing for finding in findings):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: the part that was checked.
        message: the result; for a missing part also the remedy.
        missing: the config needs it and it is not there.
    """

    subject: str
    message: str
    missing: bool = False


def examine(config: ExperimentConfig) -> list[Finding]:
    """Run every check; a failure is a finding, not an error."""
    return [database(), model(config), judge(config), *engine(config), gpu()]


def database() -> Finding:
    """Check that the database opens."""
    try:
        with Store.open() as store:
            return Finding("database", f"{store.engine.url!r}")
    except CycleAlignError as error:
        return Finding("database", str(error), missing=True)


def model(config: ExperimentConfig) -> Finding:
    """Check that the policy's model is a safe local folder or a hub id."""
    name = config.policy.model
    if name == "demo":
        return Finding("model", "the demo policy, trained on first use")
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
    """Check that the judge's key is set; its value is not read."""
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
    """Check the vLLM server at engine.base_url, or the environment that starts one."""
    needed = config.policy.kind == "vllm"
    if config.engine.base_url and needed:
        whole = config.training.method == "full"
        refused = Finding("vLLM", NEEDS_MANAGED_SERVER, missing=True)
        yield refused if whole else remote(config.engine, config.engine.base_url)
        return
    try:
        python = interpreter_path(config.engine)
    except EngineFailed as error:
        yield Finding("vLLM", str(error) if needed else "absent, and not needed: `make vllm` installs it", needed)
        return
    yield vllm_in(python, needed)


def remote(settings: EngineSettings, url: str) -> Finding:
    """Check that a vLLM server answers at the address and accepts the key."""
    key = os.environ.get(settings.api_key_variable, "")
    with VllmClient(url.rstrip("/").removesuffix("/v1"), key, 20.0) as client:
        try:
            names = ", ".join(model["id"] for model in client.models())
        except (ServerUnavailable, CycleAlignError) as error:
            advice = f"Start it, or set engine.base_url and {settings.api_key_variable}."
            return Finding("vLLM", f"{url}: {error} {advice}", missing=True)
    return Finding("vLLM", f"{url} serves {names}")


def vllm_in(python: str, needed: bool) -> Finding:
    """Check that the interpreter can import vLLM."""
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
    """List the GPUs by nvidia-smi; without one everything runs on the CPU, slowly."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "none (no nvidia-smi): policy, vLLM and training run on the CPU")
    done = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True, text=True
    )
    if done.returncode != 0:
        return Finding("GPU", f"nvidia-smi fails: {done.stdout.strip() or done.stderr.strip()}", missing=True)
    return Finding("GPU", "; ".join(done.stdout.strip().splitlines()))
