"""`cyclealign doctor`: check that this machine can run a config. The database is created if it is missing."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.run import quiet_libraries
from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import CycleAlignError
from cyclealign.files import EXAMPLES
from cyclealign.loop.ports import Ports
from cyclealign.loop.preflight.ask import ask_judge, ask_policy
from cyclealign.loop.preflight.check import examine
from cyclealign.loop.preflight.finding import Finding, missing
from cyclealign.loop.preflight.judge import key_only_in_block
from cyclealign.loop.supply import rounds_to_run
from cyclealign.store import Store

STYLES = {"ok": "green", "note": "yellow", "missing": "red"}
app = new_app()


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; default: the demo's.")] = None,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Also let the judge rank one list and the policy answer one prompt; shows the cost."
        ),
    ] = False,
) -> None:
    """Check that this machine can run a config: database, prompts, model, judge, vLLM and GPU.

    The judge's key and model are checked by one request of a few tokens.
    """
    quiet_libraries()
    findings = []
    for finding in check_up(load_config(config or EXAMPLES / "demo.toml"), ask):
        print_finding(finding)
        findings.append(finding)
    if any(finding.missing for finding in findings):
        raise typer.Exit(1)


def print_finding(finding: Finding) -> None:
    """Print a finding after its level."""
    console.print(finding.level, style=STYLES[finding.level], end="  ")
    print_plain(f"{finding.subject}: {finding.message}")


def check_up(config: ExperimentConfig, ask: bool = False) -> Iterator[Finding]:
    """Yield the findings of every check, also of parts that the config does not need.

    Args:
        ask: send the judge one list, and let the policy answer one prompt; each only if its checks found nothing.
    """
    ports = ports_for(config)
    try:
        with Store.open() as store:
            yield Finding("database", f"{store.engine.url!r}")
            found = []
            for finding in examine(config, store, ports, max(1, rounds_to_run(store, config)), thorough=True):
                found.append(finding)
                yield finding
            failed = {finding.subject for finding in found if finding.missing}
            if ask and not failed & {"judge", "price", "templates"}:
                yield from ask_judge(config, store, ports)
            if ask and not failed & {"model", "context", "vLLM"}:
                yield from ask_policy(config, store)
    except CycleAlignError as error:
        yield missing("database", str(error))
    yield gpu()


def ports_for(config: ExperimentConfig) -> Ports:
    """Return Prefect's ports if the judge's key is in one of its Secret blocks, else the plain ones."""
    if not key_only_in_block(config.judge):
        return Ports()
    from flows.prefect_ports import PREFECT_PORTS

    return PREFECT_PORTS


def gpu() -> Finding:
    """List the GPUs by nvidia-smi; without one everything runs on the CPU, slowly."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "none (no nvidia-smi): policy, vLLM and training run on the CPU")
    done = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True, text=True
    )
    if done.returncode != 0:
        return missing("GPU", f"nvidia-smi fails: {done.stdout.strip() or done.stderr.strip()}")
    return Finding("GPU", "; ".join(done.stdout.strip().splitlines()))
