"""The parts of `benchmarks.gpu_check`: ``python -m benchmarks.gpu_parts PART [--smoke]`` prints a JSON object."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "bitsandbytes", "sentence-transformers", "timm")
JOBS = ("cprd", "idcm", "leaf", "margin-mse", "opd", "pld", "quantidce")


def machine(smoke: bool) -> dict[str, Any]:
    """Return the card, its driver and the versions of the packages."""
    import torch

    tool = shutil.which("nvidia-smi")
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    listed = subprocess.run([tool, *query], capture_output=True, text=True, check=False).stdout if tool else ""
    return {
        "cards": listed.strip().splitlines(),
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
    }


def installed(package: str) -> str | None:
    """Return the version of a package; None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gradients(smoke: bool) -> dict[str, Any]:
    """Compare the gradients of a float32 step with the prompt computed once and with repeated prompts."""
    import torch

    from benchmarks.ranking_arm import Case

    torch.backends.cuda.matmul.allow_tf32 = False
    case = Case(64, 16, 4, 2, 2000) if smoke else Case(256, 64, 8, 4, 32_000)
    once, form = gradient_of_a_step("ours", case)
    repeated, _ = gradient_of_a_step("repeated", case)
    relative = float((once - repeated).norm() / repeated.norm())
    return {"relative_difference": relative, "equal": relative < 1e-4, "form": form, "weights": len(once)}


def gradient_of_a_step(arm: str, case: Any) -> tuple[Any, str]:
    """Return the gradient of all adapter weights as one tensor, in float64, and the form of shared prompts."""
    import torch
    from transformers import TrainerCallback

    from benchmarks.gpu_step import arm_job, arm_trainer
    from benchmarks.ranking_arm import make_model

    taken: list[torch.Tensor] = []

    class Record(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            taken.extend(weight.grad.flatten().double().cpu() for weight in adapted)

    with tempfile.TemporaryDirectory() as name:
        job = arm_job(arm, case, 1, False, Path(name))
        changes = {"bf16": False, "max_grad_norm": 0.0}  # no clipping
        job = replace(job, settings=job.settings.model_copy(update=changes))
        trainer = arm_trainer(arm, job, make_model(case, job.settings), Path(name))
        adapted = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        for number, weight in enumerate(adapted):  # B begins at 0, which would leave A without a gradient
            torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator(weight.device).manual_seed(number))
        trainer.add_callback(Record())
        trainer.train()
    return torch.cat(taken), str(trainer.scoring.form)


def tokens_at_once(smoke: bool) -> dict[str, Any]:
    """Report the tokens of a pass that training chooses for itself, and the memory that its steps then take."""
    import torch

    from benchmarks.gpu_step import WARM_UP, Timed, arm_job, model_of_a_round
    from benchmarks.ranking_arm import Case
    from cyclealign.training.trainers import make_trainer

    case = Case(64, 16, 4, 2, 2000) if smoke else Case(1024, 256, 8, 24)
    with tempfile.TemporaryDirectory() as name:
        job = arm_job("ours", case, WARM_UP, True, Path(name))
        trainer: Any = make_trainer(job, Path(name), model_of_a_round(case, job))
        timed = Timed()
        trainer.add_callback(timed)
        trainer.train()
        total = torch.cuda.get_device_properties(0).total_memory / 2**20 if torch.cuda.is_available() else None
        return {
            "tokens_at_once": trainer.tokens_at_once,
            "remark": trainer.memory_remark,
            "peak_memory_mb": timed.peaks,
            "device_memory_mb": total,
        }


def qlora(smoke: bool) -> dict[str, Any]:
    """Train an adapter on a base in 4 bits; its log-probs on the unquantised base are those of its probe."""
    import torch

    if not torch.cuda.is_available() or installed("bitsandbytes") is None:
        return {"skipped": "needs a GPU and the package bitsandbytes"}
    return round_of_a_tiny_model({"training": {"process": "same", "quantise": "nf4"}})


def align_round(smoke: bool) -> dict[str, Any]:
    """Run two rounds of `align` with the transformers policy: in bfloat16 on a GPU, in float32 on a CPU."""
    return round_of_a_tiny_model({})


def round_of_a_tiny_model(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make a tiny chat model in bfloat16, and run two rounds on it with a judge that follows a rule."""
    import torch
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    from cyclealign.config import ExperimentConfig, checked
    from cyclealign.loop.align import align
    from tests.first_hour.walk import Case, walk
    from tests.support.chat_models import make_chat_model

    def advance(config: ExperimentConfig) -> None:
        values = config.model_dump()
        align(checked({**values, **{name: {**values[name], **part} for name, part in changes.items()}}, "gpu_check"))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"CYCLEALIGN_HOME": str(folder / "home"), "TEST_JUDGE_KEY": "none-needed"}
        model = make_chat_model("qwen2", folder / "models" / "qwen2")
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(model)
        walked = walk(Case("qwen2"), folder, folder / "models", advance)
    return {"verdicts": walked.verdicts, "ranked": walked.ranked, "seconds": walked.seconds}


def distill(name: str) -> dict[str, Any]:
    """Run the demo of a distillation job; return its measures."""
    from cyclealign.distill.registry import job_named
    from cyclealign.distill.run import run_job
    from cyclealign.policy.device import device
    from cyclealign.store import Store

    spec = job_named(name)
    spec.check_installed()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CYCLEALIGN_HOME"] = home
        run_id = run_job(spec, spec.config(None))
        with Store.open() as store:
            row = next(row for row in store.distillations.runs(name) if row["id"] == run_id)
    return {"device": device(), "seconds": row.get("seconds"), "measures": row.get("measures", row)}


PARTS: Mapping[str, Callable[[bool], dict[str, Any]]] = {
    "machine": machine,
    "gradients": gradients,
    "tokens_at_once": tokens_at_once,
    "qlora": qlora,
    "align": align_round,
}


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, *JOBS])
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    outcome = distill(given.part) if given.part in JOBS else PARTS[given.part](given.smoke)
    print(json.dumps(outcome, default=str))


if __name__ == "__main__":
    main()
