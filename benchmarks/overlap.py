"""Seconds of generation and judging in a round: one after the other, and at once.

``python -m benchmarks.overlap [--json]``: at three balances the policy is a stand-in that sleeps a fixed time a batch,
and the simulated judge, in a process of its own, answers after a fixed latency. In two more the demo's real policy
generates. The steps of `align` run without Prefect, each time on an empty database. Medians of five.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from cyclealign.config import ExperimentConfig, checked
from cyclealign.demo.judge.process import SimulatedJudge
from cyclealign.files import home
from cyclealign.loop.concurrency import BackgroundWorker, WorkSignal
from cyclealign.loop.generate import generate
from cyclealign.loop.judge import judge
from cyclealign.loop.lease import LEASE_SECONDS
from cyclealign.loop.plan import plan_round
from cyclealign.loop.session import RoundSession
from cyclealign.policy import Answer, Policy
from cyclealign.records import SIMULATED_MODEL, Adapter, Prompt, Round, seed_from
from cyclealign.store import Store

ROOT = Path(__file__).parents[1]
PROMPTS, BATCH, ORDERS, CONCURRENCY = 48, 4, 1, 4
KEY = "CYCLEALIGN_BENCHMARK_KEY"  # the variable; the simulated judge asks for no key


@dataclass(frozen=True)
class Case:
    """One measurement; ``batch_seconds`` None: the demo's real policy."""

    name: str
    batch_seconds: float | None
    judge_latency_seconds: float


# 12 batches, and 12 times as many calls as there can be at once: a batch takes as long as its judging where the two
# numbers are equal. They are long beside what the calls cost in processor time, as those of real models are.
CASES = (
    Case("generation slower", 0.6, 0.3),
    Case("even", 0.6, 0.6),
    Case("judging slower", 0.3, 0.6),
    Case("real tiny policy", None, 0.6),
    Case("real tiny policy, even", None, 0.1),
)


class FixedTimePolicy:
    """A stand-in that sleeps and returns placeholder answers."""

    context_tokens = 10_000
    provenance: ClassVar[dict[str, object]] = {}

    def __init__(self, batch_seconds: float) -> None:
        self._batch_seconds = batch_seconds

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return [1]

    def text_ids(self, text: str) -> list[int]:
        return [1]

    def use(self, adapter: Adapter | None) -> None:
        pass

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        time.sleep(self._batch_seconds)
        return [[self._answer(prompt, place, seed) for place in range(count)] for prompt in prompts]

    def _answer(self, prompt: Prompt, place: int, seed: int) -> Answer:
        words = [f"word{seed_from(prompt.id, place, seed, number) % 500}" for number in range(20)]
        return Answer(" ".join(words), tuple(range(20)), -30.0, "stop")

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        return [-1.0] * len(answers)

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[-1.0] * (len(row) - 1) for row in rows]

    def release_memory(self) -> None:
        pass

    def close(self) -> None:
        pass


def config_of(case: Case, base_url: str) -> ExperimentConfig:
    """Return the settings of one round on the demo world's prompts."""
    real = case.batch_seconds is None
    return checked(
        {
            "experiment": "overlap",
            "templates": str(ROOT / "prompts"),
            "prompts": {"set_name": "demo", "per_round": PROMPTS, "held_out": 1},
            "policy": {
                "model": demo_model() if real else "stand-in",
                "batch_prompts": BATCH,
                "max_new_tokens": 56,
                "max_truncated": 1.0,
            },
            "judge": {
                "model": SIMULATED_MODEL,
                "base_url": base_url,
                "api_key_variable": KEY,
                "num_orders": ORDERS,
                "concurrency": CONCURRENCY,
            },
        },
        "benchmark",
    )


def demo_model() -> str:
    """Return the folder of the demo's policy, which is trained on first use."""
    from cyclealign.demo.policy import demo_policy

    return str(demo_policy(home() / "models", lambda done, of: None))


def in_a_round(case: Case, base_url: str, work: Callable[[RoundSession, Round], Any]) -> Any:
    """Return the result of ``work`` for a new round in a database of its own."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = stack.enter_context(Store.open(f"sqlite:///{folder}/memory.db"))
        session = RoundSession(config_of(case, base_url), store, stack)
        if case.batch_seconds is not None:
            stand_in: Policy = FixedTimePolicy(case.batch_seconds)  # checked by mypy against the protocol
            session.__dict__["policy"] = stand_in
        round_ = store.rounds.open(plan_round(session), session.owner, LEASE_SECONDS)
        return work(session, round_)


def one_after_the_other(session: RoundSession, round_: Round) -> tuple[float, float]:
    """Return the seconds of generation and of judging."""
    started = time.monotonic()
    generate(session, round_, WorkSignal())
    generated = time.monotonic()
    assert judge(session, round_, WorkSignal.closed()) == PROMPTS
    return generated - started, time.monotonic() - generated


def at_once(session: RoundSession, round_: Round) -> float:
    """Return the seconds of both together."""
    started = time.monotonic()
    with BackgroundWorker(lambda signal: judge(session, round_, signal)) as judging:
        generate(session, round_, judging.signal)
        assert judging.result() == PROMPTS
    return time.monotonic() - started


def measure(case: Case, runs: int) -> dict[str, object]:
    """Return the figures of one case, medians over the runs."""
    with SimulatedJudge(faults=[f"slow:{case.judge_latency_seconds}"]) as served:
        in_a_round(case, served.base_url, one_after_the_other)  # what is loaded once counts for nobody
        alone = [in_a_round(case, served.base_url, one_after_the_other) for _ in range(runs)]
        together = [in_a_round(case, served.base_url, at_once) for _ in range(runs)]
    slower = median(max(pair) for pair in alone)
    return {
        "case": case.name,
        "policy": "the demo's" if case.batch_seconds is None else f"stand-in: sleeps {case.batch_seconds} s a batch",
        "judge": f"simulated, {case.judge_latency_seconds} s a call, {CONCURRENCY} calls at once",
        "prompts": PROMPTS,
        "runs": runs,
        "generate_seconds": round(median(pair[0] for pair in alone), 3),
        "judge_seconds": round(median(pair[1] for pair in alone), 3),
        "sequential_seconds": round(median(sum(pair) for pair in alone), 3),
        "overlapped_seconds": round(median(together), 3),
        "slower_stage_seconds": round(slower, 3),
        "ratio_to_slower_stage": round(median(together) / slower, 3),
        "ratio_to_sequential": round(median(together) / median(sum(pair) for pair in alone), 3),
        "overlapped_runs": [round(each, 3) for each in together],
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--case", choices=[each.name for each in CASES], help="only this one")
    given = parser.parse_args()
    os.environ[KEY] = "none"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `cyclealign demo` sets it
    found = []
    for case in (each for each in CASES if given.case in (None, each.name)):
        found.append(measure(case, given.runs))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for each in found:
        times = {name: each[name] for name in ("sequential_seconds", "overlapped_seconds", "slower_stage_seconds")}
        print(each["case"], times, "ratio to the slower:", each["ratio_to_slower_stage"])


if __name__ == "__main__":
    main()
