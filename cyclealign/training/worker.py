"""The training process: load, fit, save, and record a probe of the trained weights.

``python -m cyclealign.training.worker FOLDER [CHECKPOINTS]`` reads FOLDER/job.json and writes the adapter or full
weights there. It goes on from the last checkpoint in CHECKPOINTS.
"""

import json
import logging
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from transformers import PrinterCallback, set_seed

from cyclealign.policy.attestation import Logprobs, Probe, Rows
from cyclealign.policy.device import device
from cyclealign.policy.out_of_memory import is_out_of_memory
from cyclealign.policy.probe_logprobs import probe_from_folders, probe_logprobs, select_probe_rows
from cyclealign.processes import end_with_input, end_with_parent
from cyclealign.progress import OnProgress
from cyclealign.training.checkpoints import KeepCheckpoints, last_published, mean_loss, step_of
from cyclealign.training.job import OnStep, TrainingJob, ignore_step
from cyclealign.training.model import Model, is_main_process, is_sharded, load_trainable, unwrap
from cyclealign.training.quantised import adapter_in_float32
from cyclealign.training.ranking_trainer import RankingTrainer
from cyclealign.training.remarks import save_remarks
from cyclealign.training.trainers import ReportFigures, ReportSteps, make_trainer


def fit(
    job: TrainingJob,
    folder: Path,
    on_progress: OnProgress,
    checkpoints: Path | None = None,
    on_step: OnStep = ignore_step,
) -> float:
    """Train, save the weights (safetensors) and their probe into ``folder``, and return the mean training loss.

    Args:
        checkpoints: folder of this job's checkpoints; None: none are written or read.
        on_step: called with the figures of each step, those before a checkpoint included.
    """
    fitted = train_and_save(job, folder, on_progress, checkpoints, on_step)
    if is_main_process():
        (fitted.probe or probe_saved_weights(job, folder, fitted)).save(folder)
    return fitted.loss


@dataclass(frozen=True)
class Fitted:
    """The outcome of training. ``probe``: None if it must be computed from the saved weights."""

    loss: float
    probe_rows: Rows
    probe: Probe | None
    sharded: bool


def train_and_save(
    job: TrainingJob, folder: Path, on_progress: OnProgress, checkpoints: Path | None, on_step: OnStep = ignore_step
) -> Fitted:
    """Train and save; model, optimizer and reference go out of scope on return, so that their memory can be freed."""
    set_seed(job.seed % 2**32)  # before the LoRA weights are initialised
    model, save = load_trainable(job)
    with adapter_in_float32(model) if job.settings.quantise else nullcontext():
        trainer = make_trainer(job, folder, model)
    trainer.remove_callback(PrinterCallback)  # prints to standard output, which carries the progress reports
    trainer.add_callback(ReportSteps(on_progress))
    trainer.add_callback(ReportFigures(on_step))
    rows = select_probe_rows([(*ranked.prompt_ids, *ranked.answers[0]) for ranked in job.lists], model)
    in_memory = not (is_sharded(trainer) or job.full_weights or job.settings.quantise)
    parent = probe_logprobs(unwrap(trainer), rows) if in_memory else ()
    loss = train_from_checkpoint(trainer, job, checkpoints)
    save(trainer, folder)
    if is_main_process():
        remarks = {"shared prompt": trainer.scoring.remark, "tokens at once": trainer.memory_remark}
        save_remarks(folder, {about: words for about, words in remarks.items() if words})
    probe = probe_adapter(unwrap(trainer), rows, parent) if in_memory and is_main_process() else None
    return Fitted(loss, rows, probe, is_sharded(trainer))


def train_from_checkpoint(trainer: RankingTrainer, job: TrainingJob, checkpoints: Path | None) -> float:
    """Train from the last checkpoint, or from the beginning, and return the mean loss over all steps."""
    if checkpoints is not None:
        trainer.add_callback(KeepCheckpoints(trainer, checkpoints, job.settings.save_every))
    checkpoint = last_published(checkpoints)
    if checkpoint is None:
        return float(trainer.train().training_loss)
    trainer.steps_before = step_of(checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint))
    return mean_loss(trainer)


def probe_adapter(model: Model, rows: Rows, parent: Logprobs) -> Probe:
    """Return the probe of the trained adapter, computed with the model in memory."""
    return Probe(rows, probe_logprobs(model, rows), parent, base=probe_logprobs(model, rows, with_adapter=False))


def probe_saved_weights(job: TrainingJob, folder: Path, fitted: Fitted) -> Probe:
    """Return the probe of the saved weights, loaded one model after another.

    For sharded models, which no process holds completely; for full weights, whose parent is not in memory; and for
    adapters of a quantised base, which are served on the unquantised one.
    """

    def probe_on(probe_device: str) -> Probe:
        return probe_from_folders(
            job.model, job.revision, job.trust_remote_code, folder, job.parent, fitted.probe_rows, probe_device
        )

    clear_device_cache(garbage_collection=True)  # trainers and their callbacks form reference cycles
    # The other processes of a sharded model still hold their GPUs' memory.
    if not fitted.sharded:
        try:
            return probe_on(device(allow_mps=True))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        clear_device_cache(garbage_collection=True)
    return probe_on("cpu")  # slower, and the base model of QLoRA may be too large for the GPU


def main(folder: Path, checkpoints: Path | None = None) -> None:
    """Run the process under ``accelerate launch``: print progress, figures and loss, one JSON object a line.

    An exception is printed by the process that fails, and raised: the launcher would report its own one only.
    """
    logging.basicConfig(format="%(message)s")  # standard error is the log of the training
    logging.getLogger("cyclealign").setLevel(logging.INFO)
    end_with_parent()
    end_with_input()
    try:
        job = TrainingJob.load(folder / "job.json")
        loss = fit(
            job,
            folder,
            lambda step, of: _report({"step": step, "of": of}),
            checkpoints,
            lambda figures: _report({"figures": asdict(figures)}),
        )
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        raise
    leave_process_group()
    _report({"loss": loss})


def leave_process_group() -> None:
    """Leave the group of training processes, if there is one: its threads can abort a process that ends with them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _report(values: dict[str, object]) -> None:
    if is_main_process():
        print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
