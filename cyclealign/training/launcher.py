"""Run a training job in this process, or in its own under ``accelerate launch``, and follow its progress.

A process of its own releases all its memory when it ends. Several GPUs are configured by Accelerate.
"""

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.errors import CycleAlignError, TrainingFailed
from cyclealign.policy import weights
from cyclealign.processes import environment_without_keys
from cyclealign.progress import OnProgress
from cyclealign.records import TrainingStep
from cyclealign.training.failure import failure_message, last_exception
from cyclealign.training.job import OnStep, TrainingJob, ignore_step


def train(
    job: TrainingJob,
    folder: Path,
    on_progress: OnProgress,
    log: Path | None = None,
    checkpoints: Path | None = None,
    on_step: OnStep = ignore_step,
) -> float:
    """Train an adapter, or full weights, into ``folder`` and return the mean training loss.

    Args:
        checkpoints: a folder that keeps the last checkpoint of one job, for the next attempt at it; the checkpoints of
            other jobs are deleted. None: no checkpoints.
        on_step: called with the figures of each step, those before a checkpoint included.
        log: gets the output of training, and keeps that of earlier attempts; None: ``training.log`` in the folder.

    Raises:
        TrainingFailed: no list has a training signal, or training ended without weights; the message has the cause.
    """
    if not job.lists_with_signal:
        raise TrainingFailed(
            "There is nothing to learn from: no ranking has a positive weight and a decided pair. Check the judge's "
            "replies and training.min_preference."
        )
    log = log or folder / "training.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if checkpoints is not None:
        checkpoints = _only_of_this_job(job, checkpoints) if job.settings.save_every else None
    if job.settings.process == "same":
        return _train_here(job, folder, on_progress, log, checkpoints, on_step)
    return _train_in_own_process(job, folder, on_progress, log, checkpoints, on_step)


def _only_of_this_job(job: TrainingJob, folder: Path) -> Path:
    """Return the folder of the job's checkpoints within ``folder``, and delete the others there."""
    own = folder / job.optimisation_hash
    for path in folder.glob("*"):
        if path != own:
            shutil.rmtree(path, ignore_errors=True)
    return own


def _train_here(
    job: TrainingJob, folder: Path, on_progress: OnProgress, log: Path, checkpoints: Path | None, on_step: OnStep
) -> float:
    from cyclealign.training.worker import fit  # loads TRL

    try:
        return fit(job, folder, on_progress, checkpoints, on_step)
    except CycleAlignError:
        raise
    except Exception as error:
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        raise TrainingFailed(failure_message(f"{type(error).__name__}: {error}", "", log, job.settings)) from error


def _train_in_own_process(
    job: TrainingJob, folder: Path, on_progress: OnProgress, log: Path, checkpoints: Path | None, on_step: OnStep
) -> float:
    config = job.settings.accelerate_config
    if config is not None and not Path(config).is_file():
        raise TrainingFailed(
            f"training.accelerate_config: there is no file {Path(config).absolute()}. Correct the setting and rerun: "
            "the judged lists are kept, and the next start begins at training."
        )
    job.save(folder / "job.json")
    with log.open("ab+") as errors:
        start = errors.seek(0, os.SEEK_END)
        with subprocess.Popen(
            launch_command(config, folder, checkpoints),
            # Never written to. It closes when this process ends, and the training process ends with it.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environment_without_keys(), "PYTHONUNBUFFERED": "1"},
        ) as process:
            report = _follow(process, on_progress, on_step)
        errors.seek(start)
        output = errors.read().decode(errors="replace")
    if process.returncode != 0 or report.loss is None or not weights.files(folder):
        last_lines = "\n".join(output.strip().splitlines()[-5:])
        cause = report.error or last_exception(output) or f"exit code {process.returncode}.\n{last_lines}"
        raise TrainingFailed(failure_message(cause, output, log, job.settings))
    return report.loss


def launch_command(accelerate_config: str | None, folder: Path, checkpoints: Path | None = None) -> Sequence[str]:
    """Return the ``accelerate launch`` command; without a config file, one process in full precision."""
    default = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    options = ["--config_file", accelerate_config] if accelerate_config else default
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options]
    folders = [str(folder)] if checkpoints is None else [str(folder), str(checkpoints)]
    return [*launch, "-m", "cyclealign.training.worker", *folders]


@dataclass
class Report:
    """The report of a training process: its loss, or the exception that ended it, as ``type: message``."""

    loss: float | None = None
    error: str | None = None


def _follow(process: "subprocess.Popen[str]", on_progress: OnProgress, on_step: OnStep) -> Report:
    """Pass on the child's progress and figures until it ends, and return its report."""
    result = Report()
    assert process.stdout is not None
    try:
        for line in process.stdout:
            values = _values(line)
            if "loss" in values:
                result.loss = float(values["loss"])
            elif "error" in values:
                result.error = result.error or str(values["error"])  # the first process that fails ends the others
            elif "figures" in values:
                on_step(TrainingStep.of(values["figures"]))
            elif "step" in values:
                on_progress(int(values["step"]), int(values["of"]))
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return result


def _values(line: str) -> dict[str, Any]:
    """Return the values that the training process reports in a line; none for a library's own output."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
