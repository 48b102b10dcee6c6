"""Start a training in this process, or in its own under ``accelerate launch``, and follow it.

A process of its own returns its memory when it ends; several GPUs are configured by Accelerate.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclealign.errors import TrainingFailed
from cyclealign.policy import weights
from cyclealign.processes import environment_without_keys
from cyclealign.progress import OnProgress
from cyclealign.training.job import TrainingJob


def train(job: TrainingJob, folder: Path, on_progress: OnProgress) -> float:
    """Train an adapter, or all weights, into ``folder`` and return the mean training loss.

    Raises:
        TrainingFailed: nothing to learn from, or the training process ended without weights.
    """
    if not any(each.teaches for each in job.lists):
        raise TrainingFailed(
            "No ranking with a weight above zero and a decided pair: nothing to learn from. Look at the judge's "
            "replies, and at training.min_preference."
        )
    if job.settings.process == "same":
        from cyclealign.training.worker import fit

        return fit(job, folder, on_progress)
    return _in_own_process(job, folder, on_progress)


def _in_own_process(job: TrainingJob, folder: Path, on_progress: OnProgress) -> float:
    job.save(folder / "job.json")
    log = folder / "training.log"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            launch_command(job.settings.accelerate_config, folder),
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, and the training then ends too
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environment_without_keys(), "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        loss = _follow(process, on_progress)
    if process.returncode != 0 or loss is None or not weights.files(folder):
        tail = "\n".join(log.read_text(encoding="utf-8").strip().splitlines()[-5:])
        raise TrainingFailed(f"The training process ended with code {process.returncode}. Its last lines:\n{tail}")
    return loss


def launch_command(accelerate_config: str | None, folder: Path) -> Sequence[str]:
    """The ``accelerate launch`` command; several GPUs come from Accelerate's own config file."""
    plain = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    chosen = ["--config_file", accelerate_config] if accelerate_config else plain
    launch = [sys.executable, "-m", "accelerate.commands.launch", *chosen]
    return [*launch, "-m", "cyclealign.training.worker", str(folder)]


def _follow(process: "subprocess.Popen[str]", on_progress: OnProgress) -> float | None:
    """Pass the child's steps on; return the loss that it reports at its end."""
    loss = None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            try:
                report = json.loads(line)
                if "loss" in report:
                    loss = float(report["loss"])
                elif "step" in report:
                    on_progress(int(report["step"]), int(report["of"]))
            except (ValueError, TypeError):
                continue  # a library printed something of its own
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return loss
