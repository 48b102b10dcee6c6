"""Train a student and kill the process as soon as a step is done. Started by tests/distill/opd/test_train.py.

``python -m tests.distill.opd.killed MODELS FOLDER STEP``
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from cyclealign.distill.opd import student
from cyclealign.distill.opd.config import TrainingSettings
from cyclealign.distill.opd.predict import Generation, Row
from cyclealign.distill.opd.student import Source
from cyclealign.distill.opd.train import Task, fit
from cyclealign.progress import OnProgress

PROMPTS = [(1, 9, 8, 7), (1, 6, 5), (1, 4, 3, 9, 8, 7), (1, 5), (1, 7, 7)]
# Five prompts in steps of two, with checkpoints within and at the end of an epoch.
SETTINGS: dict[str, Any] = {
    "method": "full",
    "steps": 7,
    "prompts_per_step": 2,
    "on_policy": 0.5,
    "beta": 0.5,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "save_every": 2,
    "tokens_at_once": 12,
    "lora_rank": 2,
}


def task_of(models: Path, arm: Any = "opd") -> Task:
    """Return a task with the fixture's teacher."""
    source = Source("student.model", str(models / "student"))
    tokenizer = student.tokenizer_of(source)
    generation = Generation(tokenizer, student.end_tokens(source, tokenizer), 6, 1.0)
    given = [Row(prompt, (*range(7, 10), tokenizer.eos_token_id)) for prompt in PROMPTS]
    teacher = student.model_of(Source("teacher.model", str(models / "teacher")))
    return Task(arm, PROMPTS, given, teacher if arm == "opd" else None, generation)


def train(models: Path, folder: Path, on_progress: OnProgress, arm: Any = "opd", **settings: Any) -> tuple[Any, Any]:
    """Train the fixture's student; return it with the losses."""
    chosen = TrainingSettings(**{**SETTINGS, **settings})
    model = student.trainable(Source("student.model", str(models / "student")), chosen, 0)
    return model, fit(model, task_of(models, arm), chosen, 5, folder, on_progress)


def main() -> None:
    """Train until the step, and end as under a kill by the system."""
    models, folder, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def on_progress(step: int, of: int) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    train(models, folder, on_progress)


if __name__ == "__main__":
    main()
