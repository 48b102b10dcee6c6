"""Time and memory of a step of training on one ranked list, beside three other ways to score its answers.

``python -m benchmarks.ranking_step [--cases "256,64 64,192"] [--repeats 5] [--arms ours trl] [--small] [--json]``. A
case is ``PROMPT,RESPONSE[,ANSWERS[,LAYERS[,VOCABULARY]]]``, in tokens: one list of 8 answers, RRHF, a random model of
the shape of Qwen2 0.5B with 8 layers, LoRA of rank 8. A step is the real trainer's, from collator to optimizer.

Arms: *ours*; *trl*: TRL's forward pass with its fused head over the same sequences; *chunked*: repeated prompts, with
the answers' tokens alone projected, in chunks; *repeated*: repeated prompts with whole logits. Each is a process of its
own, and they take their steps in turn. Memory is the high-water mark of the resident set above the one before the step.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

import psutil

from benchmarks.ranking_arm import ARMS, MIB, Case

CASES = (Case(256, 64), Case(64, 192), Case(1024, 64))
SMALL = (Case(128, 32, layers=2, vocabulary=32_000),)
WARM_UP = 1
BYTES_PER_TOKEN_AND_LAYER = 120_000  # activations that the backward pass needs
FLOATS_PER_LOGIT = {"ours": 0.0, "chunked": 0.0, "trl": 1.2, "repeated": 3.0}


class ArmEnded(Exception):
    """The process of an arm has ended before its last step; the message has its exit code."""


class Arm:
    """A process that trains one arm, a step at a time."""

    def __init__(self, name: str, case: Case, steps: int) -> None:
        command = [sys.executable, "-m", "benchmarks.ranking_arm", name, str(case), str(steps)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def step(self) -> dict[str, float]:
        """Take a step; return its seconds and memory."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self._read()

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                values: dict[str, float] = json.loads(line)
                return values
        raise ArmEnded(f"ended with exit code {self._process.wait()}; -9: killed, most often for want of memory")


def needed_bytes(arm: str, case: Case) -> float:
    """Return an estimate of the memory of a step."""
    tokens = case.tokens / (case.ideal_speedup if arm == "ours" else 1)
    return tokens * (case.layers * BYTES_PER_TOKEN_AND_LAYER + 4 * case.vocabulary * FLOATS_PER_LOGIT[arm])


def measure(case: Case, repeats: int, names: Sequence[str] = tuple(ARMS)) -> dict[str, Any]:
    """Return the figures of a case: medians of the steps after the warm-up.

    Raises:
        ArmEnded: an arm ended while it was loaded.
    """
    skipped, arms = {}, {}
    for name in names:
        needed, free = needed_bytes(name, case), psutil.virtual_memory().available
        if needed > free:
            skipped[name] = f"needs about {needed / MIB:.0f} MB, and {free / MIB:.0f} MB are free"
        else:
            arms[name] = Arm(name, case, WARM_UP + repeats)
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for number in range(WARM_UP + repeats):
        for name in list(arms):
            try:
                step = arms[name].step()
            except ArmEnded as error:
                skipped[name] = str(error)
                del arms[name], steps[name]
                continue
            if number >= WARM_UP:
                steps[name].append(step)
    for arm in arms.values():
        arm.end()
    return figures(case, steps, skipped)


def figures(case: Case, steps: dict[str, list[dict[str, float]]], skipped: dict[str, str]) -> dict[str, Any]:
    """Return the figures of a case, with None for those of arms that were skipped."""
    seconds = {name: median(step["seconds"] for step in taken) for name, taken in steps.items()}
    cpu_seconds = {name: median(step["cpu_seconds"] for step in taken) for name, taken in steps.items()}
    memory = {name: median(step["memory_mb"] for step in taken) for name, taken in steps.items()}

    def ratio(values: dict[str, float], arm: str) -> float | None:
        return round(values[arm] / values["ours"], 2) if arm in values else None

    by_chunked = ratio(seconds, "chunked")
    return {
        "case": {"prompt": case.prompt, "response": case.response, "answers": case.answers, "layers": case.layers},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "cpu_seconds": {name: round(value, 2) for name, value in cpu_seconds.items()},
        "peak_memory_mb": {name: round(value) for name, value in memory.items()},
        "speedup_vs_trl": ratio(seconds, "trl"),
        "speedup_vs_chunked": by_chunked,
        "speedup_vs_repeated": ratio(seconds, "repeated"),
        "memory_ratio_vs_trl": ratio(memory, "trl"),
        "ideal_speedup": round(case.ideal_speedup, 2),
        "cpu_time_ratio_vs_trl": ratio(cpu_seconds, "trl"),  # on a machine that does other work, too
        # Against the arm that differs in the prompts alone.
        "share_of_ideal": None if by_chunked is None else round(by_chunked / case.ideal_speedup, 2),
        "skipped": skipped,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", help="such as '256,64 1024,64'; default: the three published ones")
    parser.add_argument("--repeats", type=int, default=5, help="measured steps of each arm")
    parser.add_argument("--small", action="store_true", help="a case of two layers and 32,000 tokens, in a minute")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    cases: Sequence[Case] = SMALL if chosen.small else CASES
    if chosen.cases:
        cases = [Case.parse(text) for text in chosen.cases.split()]
    results = []
    for case in cases:
        results.append(measure(case, chosen.repeats, chosen.arms))
        if not chosen.json:
            print(json.dumps(results[-1], indent=2))
    if chosen.json:
        print(json.dumps({"repeats": chosen.repeats, "cases": results}))


if __name__ == "__main__":
    main()
