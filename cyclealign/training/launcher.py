"""Run a training job in this process, or in its own under ``accelerate launch``, and follow its progress.

A process of its own releases all its memory when it ends. Several GPUs are configured by Accelerate.
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
    """Train an adapter, or full weights, into ``folder`` and return the mean training loss.

    Raises:
        TrainingFailed: no list has a training signal, or the training process ended without weights.
    """
    if not job.lists_with_signal:
        raise TrainingFailed(
            "There is nothing to learn from: no ranking has a positive weight and a decided pair. Check the judge's "
            "replies and training.min_preference."
        )
    if job.settings.process == "same":
        from cyclealign.training.worker import fit  # loads TRL

        return fit(job, folder, on_progress)
    return _train_in_own_process(job, folder, on_progress)


def _train_in_own_process(job: TrainingJob, folder: Path, on_progress: OnProgress) -> float:
    job.save(folder / "job.json")
    log = folder / "training.log"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            launch_command(job.settings.accelerate_config, folder),
            # Never written to. It closes when this process ends, and the training process ends with it.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environment_without_keys(), "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        loss = _follow(process, on_progress)
    if process.returncode != 0 or loss is None or not weights.files(folder):
        last_lines = "\n".join(log.read_text(encoding="utf-8").strip().splitlines()[-5:])
        raise TrainingFailed(f"The training process exited with code {process.returncode}. Last lines:\n{last_lines}")
    return loss


def launch_command(accelerate_config: str | None, folder: Path) -> Sequence[str]:
    """Return the ``accelerate launch`` command; without a config file, one process in full precision."""
    default = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    options = ["--config_file", accelerate_config] if accelerate_config else default
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options]
    return [*launch, "-m", "cyclealign.training.worker", str(folder)]


def _follow(process: "subprocess.Popen[str]", on_progress: OnProgress) -> float | None:
    """Pass on the child's progress until it ends, and return the loss that it reports."""
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
                continue  # a library's own output
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return loss
