"""Check the vLLM server at engine.base_url, or the environment that starts one."""

import os
import subprocess
from collections.abc import Iterator

from cyclealign.config import EngineSettings, ExperimentConfig
from cyclealign.errors import CycleAlignError, EngineFailed
from cyclealign.loop.preflight.finding import Finding, Level, missing
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import checked_flags, interpreter_path
from cyclealign.policy.vllm_lifecycle import NEEDS_MANAGED_SERVER

SUBJECT = "vLLM"
IMPORT_SECONDS = 180.0
# Finding vLLM takes a tenth of a second, importing it up to a minute.
IMPORT = "import vllm; print(vllm.__version__)"
FIND = "import importlib.metadata; print(importlib.metadata.version('vllm'))"


def engine_findings(config: ExperimentConfig, thorough: bool) -> Iterator[Finding]:
    """Check the engine.

    Args:
        thorough: import vLLM rather than find it, and report an engine that the config does not need.
    """
    needed = config.policy.kind == "vllm"
    if not needed and not thorough:
        return
    if needed and config.engine.base_url:
        whole = config.training.method == "full"
        yield missing(SUBJECT, NEEDS_MANAGED_SERVER) if whole else remote(config.engine, config.engine.base_url)
        return
    try:
        python = interpreter_path(config.engine)
        checked_flags(config.engine)
    except EngineFailed as error:
        words = str(error) if needed else "absent, and not needed: `make vllm` installs it"
        yield Finding(SUBJECT, words, "missing" if needed else "ok")
    except CycleAlignError as error:
        yield Finding(SUBJECT, str(error), "missing" if needed else "note")
    else:
        yield vllm_in(python, needed, IMPORT if thorough else FIND)


def remote(settings: EngineSettings, url: str) -> Finding:
    """Check that a vLLM server answers at the address and accepts the key."""
    key = os.environ.get(settings.api_key_variable, "")
    with VllmClient(url.rstrip("/").removesuffix("/v1"), key, 20.0) as client:
        try:
            names = [str(model["id"]) for model in client.models()]
        except (ServerUnavailable, CycleAlignError) as error:
            advice = f"Start it, or set engine.base_url and {settings.api_key_variable}."
            return missing(SUBJECT, f"{url}: {error} {advice}")
    if settings.served_model and settings.served_model not in names:
        return missing(
            SUBJECT, f"{url} serves {', '.join(names)}, not engine.served_model = '{settings.served_model}'."
        )
    return Finding(SUBJECT, f"{url} serves {', '.join(names)}")


def vllm_in(python: str, needed: bool, code: str) -> Finding:
    """Check that the interpreter has vLLM."""
    level: Level = "missing" if needed else "note"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], env=environment, capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(SUBJECT, f"{python}: {error}. Run `make vllm`.", level)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding(SUBJECT, f"{python} cannot import vllm ({last}). Run `make vllm`.", level)
    return Finding(SUBJECT, f"{done.stdout.strip().splitlines()[-1]} in {python}")
