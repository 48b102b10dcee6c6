"""A round on this machine: tokens a second, seconds of sleep, wake and adapter swap, and how busy the GPU is.

``python -m benchmarks.round --gpu [--config TOML] [--json]`` runs one round of ``align`` with the managed vLLM policy
in a home folder of its own, then measures the engine alone with the adapter that the round trained. ``--gpu`` refuses a
machine without one; without it everything runs on the CPU, whose engine has no sleep mode (it only pauses).
benchmarks/gpu.md says how the published figures are taken.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.configs import as_toml
from benchmarks.served import prompts, served, tokens_in
from cyclealign.files import HOME_VARIABLE
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Adapter
from cyclealign.store import Store

ROOT = Path(__file__).parents[1]
SAMPLES_A_SECOND = 5


@dataclass
class Busy:
    """Samples of the GPUs' utilisation, in per cent, the busiest GPU's at each moment."""

    samples: list[float] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """Share of the time in which a kernel was running; None without a GPU."""
        return fmean(value > 0 for value in self.samples) if self.samples else None

    @property
    def utilisation(self) -> float | None:
        """Mean utilisation, 0 to 1."""
        return fmean(self.samples) / 100 if self.samples else None


@contextmanager
def watching_gpu() -> Iterator[Busy]:
    """Sample the utilisation while the block runs."""
    busy, tool = Busy(), shutil.which("nvidia-smi")
    if tool is None:
        yield busy
        return
    query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"-lms={1000 // SAMPLES_A_SECOND}"]
    process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=read_samples, args=(process, busy), daemon=True)
    reader.start()
    try:
        yield busy
    finally:
        process.terminate()
        process.wait()
        reader.join()


def read_samples(process: "subprocess.Popen[str]", busy: Busy) -> None:
    """Take every line as a sample; with several GPUs each is a sample of its own."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():
            busy.samples.append(float(line))


def one_round(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """Run `align` for one round; seconds of its steps, tokens it drew, and how busy the GPU was."""
    path = home / "round.toml"
    path.write_text(as_toml(config))
    environment = {**os.environ, HOME_VARIABLE: str(home)}
    command = [sys.executable, "-m", "cyclealign.cli.main", "run", str(path)]
    started = time.perf_counter()
    with watching_gpu() as busy:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    passed = time.perf_counter() - started
    with Store.open(f"sqlite:///{home / 'cyclealign.db'}") as store:
        detail = store.history.detail(config["experiment"], 1)
    return {
        "seconds": passed,
        "steps_seconds": {each["step"]: each["seconds"] for each in detail["steps"]},
        "verdict": detail["summary"]["verdict"],
        "gpu_busy_share": busy.share,
        "gpu_utilisation": busy.utilisation,
        "adapter": detail["adapter"],
    }


def seconds_of(work: Callable[[], Any], repetitions: int = 1) -> float:
    """Return the median over repetitions."""
    taken = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)


def swap_in_and_out(policy: VllmPolicy, adapter: Adapter) -> None:
    """Load an adapter into the engine and unload it again."""
    policy.use(adapter)
    policy.use(None)


def engine_alone(policy: VllmPolicy, adapter: Adapter, asked: int, count: int) -> dict[str, Any]:
    """Start, generation, swaps and sleep of one engine."""
    start = seconds_of(lambda: policy.use(None))
    swap = seconds_of(partial(swap_in_and_out, policy, adapter), 5) / 2
    policy.use(adapter)
    policy.answer(prompts(asked), count, seed=0)  # warm-up
    started = time.perf_counter()
    rows = policy.answer(prompts(asked), count, seed=1)
    generation = time.perf_counter() - started
    rests, wakes = [], []
    for _ in range(3):
        rests.append(seconds_of(policy.release_memory))
        wakes.append(seconds_of(lambda: policy.use(adapter)))
    return {
        "start_seconds": start,
        "tokens_a_second": tokens_in(rows) / generation,
        "tokens": tokens_in(rows),
        "swap_seconds_with_attestation": swap,
        "sleep_seconds": median(rests),
        "wake_seconds_with_swap_and_attestation": median(wakes),
    }


def measure(config: dict[str, Any], home: Path, level: str, asked: int) -> dict[str, Any]:
    """Return all figures of benchmarks/gpu.md."""
    whole = one_round(config, home)
    made = whole.pop("adapter")
    adapter = Adapter(made["id"], made["path"], made["content_hash"], None)
    os.environ[HOME_VARIABLE] = str(home)
    policy = config["policy"]
    engine = {**config.get("engine", {}), "rest": level}
    with served(policy.get("model", "demo"), policy.get("max_new_tokens", 48), **engine) as one:
        alone = engine_alone(one, adapter, asked, policy.get("answers", 4))
    return {"engine": alone, "round": whole, "sleep": level, "gpu": gpu_names(), "policy": policy}


def gpu_names() -> Sequence[str]:
    """Return the GPUs that nvidia-smi lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listed.stdout.strip().splitlines()


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="Refuse a machine without a GPU.")
    parser.add_argument("--config", type=Path, default=ROOT / "flows" / "configs" / "demo.toml")
    parser.add_argument("--home", type=Path, help="With imported prompts, where the config needs some.")
    parser.add_argument("--level", choices=["level_1", "level_2"], default="level_1", help="Of sleep.")
    parser.add_argument("--prompts", type=int, default=64, help="Prompts at once, for tokens a second.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.gpu and shutil.which("nvidia-smi") is None:
        parser.exit(2, "No nvidia-smi here: this is no machine with an NVIDIA GPU.\n")
    config = tomllib.loads(given.config.read_text())
    config.update(experiment="benchmark-round", rounds=1, templates=str(ROOT / "prompts"))
    config.pop("until", None)
    config["policy"]["kind"] = "vllm"
    config.setdefault("engine", {})["python"] = str(ROOT / ".venv-vllm" / "bin" / "python")
    home = (given.home or Path(tempfile.mkdtemp(prefix="cyclealign-round-"))).absolute()
    found = measure(config, home, given.level, given.prompts)
    print(json.dumps(found, indent=2) if given.json else as_text(found))


def as_text(found: dict[str, Any]) -> str:
    """Return the figures, one per line."""
    lines = [f"{part}.{name}: {value}" for part in ("engine", "round") for name, value in found[part].items()]
    return "\n".join([*lines, f"sleep: {found['sleep']}", *found["gpu"]])


if __name__ == "__main__":
    main()
