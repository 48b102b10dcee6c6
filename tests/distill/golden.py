"""Golden outputs of every job on tiny fixed inputs: ``python -m tests.distill.golden`` writes them to golden.json."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclealign.distill.registry import JOBS
from cyclealign.records import Metric
from tests.distill import golden_jobs

FILE = Path(__file__).with_name("golden.json")
Outputs = Mapping[str, Any]

# The functions of golden_jobs.py, each named like the flow of its job.
JOB_OUTPUTS: dict[str, Callable[[Path], Outputs]] = {
    name: getattr(golden_jobs, spec.function) for name, spec in JOBS.items()
}


def outputs(job: str) -> dict[str, list[float]]:
    """Return a job's results by part, as flat lists of numbers with six digits; on the CPU, in one thread."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = JOB_OUTPUTS[job](Path(folder))
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
    return {part: [float(f"{number:.6g}") for number in flat(values)] for part, values in found.items()}


def flat(values: Any) -> list[float]:
    """The numbers of a tensor, of an array, of measures, or of sequences of these."""
    if isinstance(values, Metric):
        return [number for number in (values.value, values.low, values.high) if number is not None]
    if isinstance(values, torch.Tensor):
        return [float(number) for number in values.detach().double().flatten()]
    if isinstance(values, np.ndarray):
        return [float(number) for number in values.flatten()]
    if isinstance(values, Sequence):
        return [number for part in values for number in flat(part)]
    return [float(values)]


def changed(golden: Mapping[str, list[float]], found: Mapping[str, list[float]]) -> list[str]:
    """The parts of both whose numbers differ by more than float noise, which varies between processors.

    The tolerance is one in a thousand, or 0.0005 near zero.
    """
    return [
        part
        for part in golden
        if part in found
        and (len(golden[part]) != len(found[part]) or not np.allclose(golden[part], found[part], rtol=1e-3, atol=5e-4))
    ]


def complaint(job: str, version: int, golden: Mapping[str, Any], found: Mapping[str, list[float]]) -> str | None:
    """Why the golden outputs of a job do not hold, if they do not."""
    if golden["version"] != version:
        return f"golden.json holds version {golden['version']} of {job}, whose VERSION is {version}: {REWRITE}"
    parts = changed(golden["outputs"], found)
    if parts:
        return f"the golden outputs of {job} changed ({', '.join(parts)}): raise VERSION and {REWRITE}"
    others = sorted({*golden["outputs"]} ^ {*found})  # a new loss, say: no earlier result changes by it
    return f"golden.json and the outputs of {job} differ in parts ({', '.join(others)}): {REWRITE}" if others else None


REWRITE = "write the new ones by `python -m tests.distill.golden`"


def write(path: Path = FILE) -> None:
    """Write the outputs of all jobs. Those that are unchanged within float noise stay as they are.

    Raises:
        SystemExit: outputs changed and the job's ``VERSION`` was not raised, or they would be those of a GPU.
    """
    if torch.cuda.is_available():
        raise SystemExit("Golden outputs are those of a CPU: set CUDA_VISIBLE_DEVICES to nothing.")
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made: dict[str, Any] = {}
    for job in JOB_OUTPUTS:
        version, found, before = JOBS[job].version(), outputs(job), kept.get(job)
        if before and before["version"] == version and changed(before["outputs"], found):
            raise SystemExit(complaint(job, version, before, found))
        same = before["outputs"] if before and before["version"] == version else {}
        made[job] = {"version": version, "outputs": {part: same.get(part, row) for part, row in found.items()}}
    path.write_text(_text(made), encoding="utf-8")


def _text(made: Mapping[str, Any]) -> str:
    """JSON with one line a part, so that a diff shows what changed."""
    jobs = []
    for job, each in made.items():
        parts = ",\n".join(f"      {json.dumps(part)}: {json.dumps(row)}" for part, row in each["outputs"].items())
        version = each["version"]
        jobs.append(f'  {json.dumps(job)}: {{\n    "version": {version},\n    "outputs": {{\n{parts}\n    }}\n  }}')
    return "{\n" + ",\n".join(jobs) + "\n}\n"


if __name__ == "__main__":
    write()
