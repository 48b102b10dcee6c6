"""Check everything that needs a GPU, in one command of at most 8 minutes that downloads nothing and asks nobody.

``python -m benchmarks.gpu_check [--smoke] [--only PART,PART] [--out FILE]`` prints one JSON object. Each part is a
process of its own with a time limit; a part that fails is reported under ``failed`` and stops no other, and the exit
code is 1. The parts that are measured run alone, the others side by side. ``--smoke``: tiny sizes and longer limits,
for a CPU. benchmarks/gpu.md has the commands for a machine without a package registry.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts import JOBS

ROOT = Path(__file__).parents[1]
TOTAL_SECONDS = 470.0
SLOWER = 5  # time limits of a smoke run, on a CPU that others may use too
CASE, SMOKE_CASE = "1024,256,8,24", "64,16,4,2,2000"
ARMS = ("ours", "trl", "chunked", "repeated", "dpo")
CHECKPOINTED = ("ours", "trl", "dpo")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "2"}


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        name: its key in the result.
        command: arguments of the Python interpreter.
        seconds: time limit.
        alone: it is measured, so that nothing else may run.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    alone: bool = True


def parts(smoke: bool) -> list[Part]:
    """Return all parts, in order."""
    case, steps = (SMOKE_CASE, "2") if smoke else (CASE, "6")

    def step(arm: str, *options: str) -> Part:
        name = f"step {arm}{', checkpointed' if options else ''}"
        return Part(name, ("-m", "benchmarks.gpu_step", arm, case, "--steps", steps, *options), 40)

    def part(name: str, seconds: float, alone: bool = True) -> Part:
        return Part(name, ("-m", "benchmarks.gpu_parts", name, *["--smoke"] * smoke), seconds, alone)

    jobs = ("leaf",) if smoke else JOBS
    chosen = [
        part("machine", 30),
        *map(step, ARMS),
        *(step(arm, "--checkpointing") for arm in CHECKPOINTED[: 0 if smoke else None]),
        part("gradients", 40),
        part("tokens_at_once", 45),
        part("align", 180, alone=False),
        part("qlora", 180, alone=False),
        *(part(job, 180, alone=False) for job in jobs),
    ]
    return [replace(part, seconds=part.seconds * SLOWER) for part in chosen] if smoke else chosen


def run_part(part: Part, deadline: float) -> dict[str, Any]:
    """Run a part; return the JSON object of its last line, or ``{"error": ...}``."""
    limit = min(part.seconds, deadline - time.monotonic())
    if limit <= 0:
        return {"error": "no time was left"}
    process = subprocess.Popen(
        [sys.executable, *part.command],
        cwd=ROOT,
        env={**os.environ, **OFFLINE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"error": f"took longer than {limit:.1f} s"}
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        return {"error": f"exit code {process.returncode}: " + " | ".join(errors.strip().splitlines()[-3:])}
    outcome: dict[str, Any] = json.loads(lines[-1])
    return outcome


def run_parts(chosen: Sequence[Part], total_seconds: float) -> dict[str, dict[str, Any]]:
    """Run the parts that are measured one after another, then the others side by side."""
    deadline = time.monotonic() + total_seconds
    outcomes = {part.name: run_part(part, deadline) for part in chosen if part.alone}
    together = [part for part in chosen if not part.alone]
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2)) as pool:
        futures = {part.name: pool.submit(run_part, part, deadline) for part in together}
    return {**outcomes, **{name: future.result() for name, future in futures.items()}}


def ratios(outcomes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return time and memory of the other arms by those of ours, without and with gradient checkpointing."""
    compared: dict[str, dict[str, float | None]] = {}
    for suffix in ("", ", checkpointed"):
        ours = outcomes.get(f"step ours{suffix}", {})
        for arm in ARMS:
            other = outcomes.get(f"step {arm}{suffix}", {})
            if arm != "ours" and "seconds" in ours and "seconds" in other:
                memory, own = other["peak_memory_mb"], ours["peak_memory_mb"]
                compared[f"{arm}{suffix}"] = {
                    "time": other["seconds"] / ours["seconds"],
                    "memory": memory / own if memory and own else None,
                }
    return compared


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; return 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--only", help="these parts, separated by commas")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file, too")
    given = parser.parse_args(arguments)
    known = parts(given.smoke)
    names = given.only.split(",") if given.only else [part.name for part in known]
    if unknown := set(names) - {part.name for part in known}:
        parser.error(f"There is no part {', '.join(sorted(unknown))}. There are: {', '.join(p.name for p in known)}.")
    started = time.monotonic()
    outcomes = run_parts([part for part in known if part.name in names], TOTAL_SECONDS * (SLOWER if given.smoke else 1))
    failed = sorted(name for name, outcome in outcomes.items() if "error" in outcome)
    result = {
        "smoke": given.smoke,
        "case": SMOKE_CASE if given.smoke else CASE,
        "seconds": round(time.monotonic() - started, 1),
        "failed": failed,
        "other_arms_by_ours": ratios(outcomes),
        "parts": outcomes,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
