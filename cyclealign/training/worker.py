"""The training process: load, fit, probe and save.

``python -m cyclealign.training.worker FOLDER`` reads FOLDER/job.json and writes the adapter, or full weights, there.
"""

import gc
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PrinterCallback, set_seed

from cyclealign.policy.attestation import Logprobs, Probe, Rows
from cyclealign.policy.device import device
from cyclealign.policy.probe_logprobs import from_folders, measured, probe_rows
from cyclealign.processes import end_with_input, end_with_parent
from cyclealign.progress import OnProgress
from cyclealign.training.job import TrainingJob
from cyclealign.training.model import Model, is_first, is_spread, trainable, unwrapped
from cyclealign.training.trainers import ReportSteps, dpo_trainer, ranking_trainer


def fit(job: TrainingJob, folder: Path, on_progress: OnProgress) -> float:
    """Train, save what was trained (safetensors) into ``folder`` with its probe, and return the mean loss."""
    done = trained(job, folder, on_progress)
    if is_first():
        (done.probe or probe_of_folders(job, folder, done)).save(folder)
    return done.loss


@dataclass(frozen=True)
class Trained:
    """What is left of a training; ``probe`` where the model in memory could tell it. ``spread``: over processes."""

    loss: float
    rows: Rows
    probe: Probe | None
    spread: bool


def trained(job: TrainingJob, folder: Path, on_progress: OnProgress) -> Trained:
    """Train and save; model, optimizer and reference go out of reach on return, so that their memory can be had."""
    set_seed(job.seed % 2**32)  # before LoRA draws its first weights
    model, save = trainable(job)
    make = dpo_trainer if job.settings.objective == "dpo" else ranking_trainer
    trainer = make(job, folder, model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ReportSteps(on_progress))
    rows = probe_rows([(*each.prompt_ids, *each.answers[0]) for each in job.lists], model)
    here = not (is_spread(trainer) or job.whole)
    parent = measured(unwrapped(trainer), rows) if here else ()
    result = trainer.train()
    save(trainer, folder)
    probe = probe_of_adapter(unwrapped(trainer), rows, parent) if here and is_first() else None
    return Trained(float(result.training_loss), rows, probe, is_spread(trainer))


def probe_of_adapter(model: Model, rows: Rows, parent: Logprobs) -> Probe:
    """What tells the new adapter from its parent's, by the model in memory."""
    return Probe(rows, measured(model, rows), parent, base=measured(model, rows, adapted=False))


def probe_of_folders(job: TrainingJob, folder: Path, done: Trained) -> Probe:
    """The same by the folders that will be loaded, one after another.

    Where no process has the whole model, and for whole weights, of which only one set was in memory.
    """
    gc.collect()  # trainers hold themselves by their callbacks
    torch.cuda.empty_cache()
    where = "cpu" if done.spread else device(allow_mps=True)
    return from_folders(job.model, job.revision, job.trust_remote_code, folder, job.parent, done.rows, where)


def main(folder: Path) -> None:
    """The process under ``accelerate launch``: steps and the loss go to standard output, one JSON object a line."""
    end_with_parent()
    end_with_input()
    loss = fit(TrainingJob.load(folder / "job.json"), folder, lambda step, of: _say({"step": step, "of": of}))
    _say({"loss": loss})


def _say(report: dict[str, object]) -> None:
    if is_first():
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
