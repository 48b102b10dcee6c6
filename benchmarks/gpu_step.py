"""Steps of one arm of `benchmarks.ranking_step` on this machine's GPU: seconds, tokens a second, MFU, peak memory.

``python -m benchmarks.gpu_step ARM CASE [--steps 6] [--checkpointing]`` takes the steps by itself and prints a JSON
object. The arm ``dpo`` is TRL's DPO trainer with TRL's own forward pass, on the same answers, each in one of n / 2
pairs; its step includes the reference. Without a GPU the model is in float32, and memory is not measured
(`benchmarks.ranking_step` does that).
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback

from benchmarks.ranking_arm import ARMS, Case, make_job, make_model, trl
from cyclealign.training.job import TrainingJob
from cyclealign.training.ranking_trainer import RankingTrainer
from cyclealign.training.trainers import make_trainer

RANK, WARM_UP, MIB = 16, 2, 2**20
HIDDEN, INTERMEDIATE, HEADS, KEY_HEADS = 896, 4864, 14, 2  # of `make_model`
# Dense bfloat16 peaks in FLOP/s, by a part of the card's name, as the makers state them.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


class Timed(TrainerCallback):
    """Seconds and peak memory of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peaks: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peaks.append(torch.cuda.max_memory_allocated() / MIB)
        self.seconds.append(time.perf_counter() - self._start)


def arm_job(arm: str, case: Case, steps: int, checkpointing: bool, folder: Path) -> TrainingJob:
    """Return the job of an arm: RRHF on one list a step, or DPO on the pairs of one list a step."""
    job = make_job(case, steps, folder)
    changes: dict[str, Any] = {"lora_rank": RANK, "lora_alpha": 2 * RANK, "gradient_checkpointing": checkpointing}
    if arm == "dpo":
        pairs = tuple((number, number + 1, 1.0) for number in range(0, case.answers - 1, 2))
        job = replace(job, lists=tuple(replace(ranked, pairs=pairs) for ranked in job.lists))
        changes |= {"objective": "dpo", "prompts_per_step": len(pairs)}
    return replace(job, settings=job.settings.model_copy(update=changes))


def model_of_a_round(case: Case, job: TrainingJob) -> PeftModel:
    """Return a random model: bfloat16 with an adapter in float32 on a GPU, as in a round."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    model = make_model(case, job.settings)
    torch.set_default_dtype(before)
    return model


def arm_trainer(arm: str, job: TrainingJob, model: PeftModel, folder: Path) -> RankingTrainer:
    """Return the trainer of an arm, which takes each step in one pass."""
    trainer: Any = make_trainer(job, folder, model)
    trainer.tokens_at_once = trainer.meter = None  # neither a limit nor a probe that sets one
    (trl if arm == "dpo" else ARMS[arm])(trainer)
    trainer.remove_callback(PrinterCallback)
    ready: RankingTrainer = trainer
    return ready


def measure(arm: str, case: Case, steps: int, checkpointing: bool) -> dict[str, Any]:
    """Take the steps, and return the medians after the warm-up."""
    timed = Timed()
    with tempfile.TemporaryDirectory() as name:
        job = arm_job(arm, case, WARM_UP + steps, checkpointing, Path(name))
        trainer = arm_trainer(arm, job, model_of_a_round(case, job), Path(name))
        trainer.add_callback(timed)
        trainer.train()
    seconds = median(timed.seconds[WARM_UP:])
    return {
        "seconds": seconds,
        "tokens_a_second": case.tokens / seconds,  # of all answers, each with its prompt, whatever the arm computes
        "mfu": utilisation(case, seconds),
        "peak_memory_mb": max(timed.peaks[WARM_UP:]) if timed.peaks else None,
        "form": str(getattr(trainer.scoring, "form", None)),
    }


def utilisation(case: Case, seconds: float) -> float | None:
    """Return the FLOPs that a step needs at least, by those of the card in its time; None without a known card."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for part, value in PEAKS.items() if part in name), None)
    return None if peak is None else needed_flops(case) / seconds / peak


def needed_flops(case: Case) -> float:
    """Return the FLOPs of a LoRA step with the prompt computed once and no recomputation.

    Frozen weights cost 2 FLOPs a token and parameter forward and 2 backward (no gradient of their own); attention costs
    4 FLOPs a pair of query and key and channel forward and 8 backward; the output head projects the answers alone. The
    adapter's own FLOPs, below 2 % here, are left out.
    """
    head = HIDDEN // HEADS
    layer = HIDDEN * (HIDDEN + 2 * KEY_HEADS * head) + HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE
    answers = case.answers * case.response
    linear = 4 * ((case.prompt + answers) * case.layers * layer + answers * HIDDEN * case.vocabulary)
    pairs = case.prompt**2 / 2 + answers * (case.prompt + case.response / 2)
    return linear + 12 * pairs * HIDDEN * case.layers


def main() -> None:
    """Measure an arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=[*ARMS, "dpo"])
    parser.add_argument("case", type=Case.parse)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--checkpointing", action="store_true")
    given = parser.parse_args()
    print(json.dumps(measure(given.arm, given.case, given.steps, given.checkpointing)))


if __name__ == "__main__":
    main()
