"""One arm of `benchmarks.ranking_step`: a training in a process of its own, a step at a time.

``python -m benchmarks.ranking_arm ARM CASE STEPS`` trains a random Qwen2-shaped model through the real trainer. Before
each step it reads a line from standard input; after it, it prints the step's seconds and memory as a JSON object.
"""

import ctypes
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel, get_peft_model
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl.trainer.utils import FusedCausalLMOutput

from cyclealign.config import TrainingSettings
from cyclealign.policy.adapter_layers import lora_config
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.model import disable_cache
from cyclealign.training.ranking_trainer import RankingTrainer
from cyclealign.training.trainers import make_trainer

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One list of answers and the model that is trained on it: lengths in tokens."""

    prompt: int
    response: int
    answers: int = 8
    layers: int = 8
    vocabulary: int = 151_936

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Read ``PROMPT,RESPONSE[,ANSWERS[,LAYERS[,VOCABULARY]]]``."""
        return cls(*map(int, text.split(",")))

    def __str__(self) -> str:
        return f"{self.prompt},{self.response},{self.answers},{self.layers},{self.vocabulary}"

    @property
    def tokens(self) -> int:
        """The tokens of all answers, each with its prompt."""
        return self.answers * (self.prompt + self.response)

    @property
    def ideal_speedup(self) -> float:
        """The tokens of all answers, each with its prompt, by those of one prompt and its answers."""
        return self.tokens / (self.prompt + self.answers * self.response)


def ours(trainer: RankingTrainer) -> None:
    """Leave the trainer as it is."""


def trl(trainer: RankingTrainer) -> None:
    """Score with TRL's forward pass and fused head."""
    trainer.share_prompts, trainer.scoring.by_library = False, True


def chunked(trainer: RankingTrainer) -> None:
    """Repeat the prompts, and project the answers' tokens in chunks."""
    trainer.share_prompts = False


def whole_logits(trainer: RankingTrainer) -> None:
    """Repeat the prompts, and take log-softmax of all logits."""
    trainer.share_prompts = False
    model: Any = trainer.model
    base: Any = model.get_base_model()
    forward = type(base).forward

    def scored(**inputs: Any) -> FusedCausalLMOutput:
        labels: Tensor = inputs.pop("labels")[:, 1:]
        for name in ("fused_lm_head", "prompt_lengths"):
            inputs.pop(name)
        logits = forward(base, **inputs, use_cache=False).logits[:, :-1]
        mask = labels != -100
        log_probs = logits.float().log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return FusedCausalLMOutput(log_probs=log_probs * mask, label_mask=mask)

    base.forward = scored


ARMS: dict[str, Callable[[RankingTrainer], None]] = {
    "ours": ours,
    "trl": trl,
    "chunked": chunked,
    "repeated": whole_logits,
}


class StepByStep(TrainerCallback):
    """Wait for a line of standard input before each step, and report the step."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        seconds, cpu_seconds = time.perf_counter() - self._start, time.process_time() - self._cpu_start
        peak = high_water_mark() - self._before
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "memory_mb": peak / MIB}), flush=True)
        self._wait()

    def _wait(self) -> None:
        # Or memory that the allocator keeps would be missing to the other arms, and count as held before the step.
        ctypes.CDLL(None).malloc_trim(0)
        if not sys.stdin.readline():
            sys.exit()
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        self._before = self._process.memory_info().rss
        self._start, self._cpu_start = time.perf_counter(), time.process_time()


def high_water_mark() -> int:
    """Return the largest resident set since the mark was reset, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def make_model(case: Case, settings: TrainingSettings) -> PeftModel:
    """Return a random model of the shape of Qwen2 0.5B, with a LoRA adapter."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=case.vocabulary,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=case.layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=case.prompt + case.response,
        tie_word_embeddings=True,
    )
    base = Qwen2ForCausalLM(config)
    disable_cache(base)
    model = get_peft_model(base, lora_config(base, settings))
    assert isinstance(model, PeftModel)
    return model


def make_job(case: Case, steps: int, folder: Path) -> TrainingJob:
    """Return a job of one list of random tokens a step, with a tokenizer of few words in the folder."""
    pad, end = "<pad>", "<end>"
    tokenizer = Tokenizer(models.WordLevel({pad: 0, end: 1}, unk_token=pad))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token=end).save_pretrained(folder)
    Qwen2Config().save_pretrained(folder)
    draw = torch.Generator().manual_seed(1)

    def ids(number: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, case.vocabulary, (number,), generator=draw).tolist())

    lists = tuple(
        RankedAnswers(ids(case.prompt), tuple(ids(case.response) for _ in range(case.answers)), 1.0)
        for _ in range(steps)
    )
    settings = TrainingSettings(process="same", prompts_per_step=1, lora_rank=8, lora_alpha=16, max_steps=steps)
    return TrainingJob(str(folder), None, None, settings, lists, seed=1)


def main(arm: str, case: Case, steps: int) -> None:
    """Train the arm, a step for each line of standard input."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = make_job(case, steps, folder)
        trainer = make_trainer(job, folder, make_model(case, job.settings))
        trainer.tokens_at_once = trainer.meter = None  # each arm takes a step in one pass, without a probe
        ARMS[arm](trainer)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(StepByStep())
        print(json.dumps({"ready": True}), flush=True)
        trainer.train()


if __name__ == "__main__":
    main(sys.argv[1], Case.parse(sys.argv[2]), int(sys.argv[3]))
