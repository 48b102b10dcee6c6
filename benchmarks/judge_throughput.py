"""Throughput of judge calls, relative to the bound by latency: ``python -m benchmarks.judge_throughput --json``.

Measures the whole path of a run: rankings as in `cyclealign.loop.judge` (rendered templates, parsed replies), limits,
budget, and each reply stored in a database before its result is used. The server is a separate process that only
waits. ``naive`` is the ten-line solution: `asyncio.gather` over batches of as many calls as may be in flight, with the
openai library's defaults, and one transaction per reply.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from openai import AsyncOpenAI

from cyclealign.chat_api.client import request_parameters
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.judge.templates import load_template
from cyclealign.judge.verdicts import parse_verdict
from cyclealign.loop.session import JudgeJob, open_session
from cyclealign.records import JudgeCall, Message, Prompt, Reply, Round, RoundPlan
from cyclealign.store import Store

PROMPTS = Path(__file__).parents[1] / "prompts"
TEXTS = {f"candidate-{name}": f"{name} {'an answer of some words ' * 12}" for name in "abcd"}


@dataclass(frozen=True)
class Case:
    """A server's latency, and the number of calls in flight."""

    latency_ms: float
    in_flight: int
    calls: int
    slow_share: float = 0.0
    slow_ms: float = 1500.0

    @property
    def ideal(self) -> float:
        """Return the calls per second if everything but waiting took no time."""
        mean_ms = (1 - self.slow_share) * self.latency_ms + self.slow_share * self.slow_ms
        return self.in_flight / mean_ms * 1e3


# Each case takes half a minute, so that the end, with fewer calls in flight than allowed, has little weight: with 3,000
# calls of the last case no client could exceed 0.92 of the ideal, since its last slow call takes 1.5 s.
CASES = (
    Case(50, 8, 4000),
    Case(200, 64, 9600),
    Case(1000, 256, 7680),
    Case(150, 50, 9000, slow_share=0.05),
)


@contextmanager
def waiting_server(case: Case) -> Iterator[str]:
    """Yield the address of a server that replies after the case's latency."""
    command = [sys.executable, "-m", "benchmarks.latency_server", "--latency-ms", str(case.latency_ms)]
    command += ["--slow-share", str(case.slow_share), "--slow-ms", str(case.slow_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def settings_for(case: Case, url: str) -> ExperimentConfig:
    """Return a config as a user would write it."""
    judge = JudgeSettings(
        kind="openai", base_url=url, model="waiting", concurrency=case.in_flight, usd_per_million_prompt_tokens=1.0
    )
    return ExperimentConfig(experiment="throughput", judge=judge)


def round_on(store: Store, config: ExperimentConfig) -> Round:
    """Open a round to record the calls in."""
    prompt = Prompt.of((Message(role="user", content="What should I do?"),))
    store.prompts.add("throughput", [(prompt, "train")], "benchmark")
    template = load_template(PROMPTS, "rank")
    settings = config.model_dump(mode="json")
    plan = RoundPlan("throughput", settings, 0, (prompt,), (), (template,), (), "benchmark")
    return store.rounds.open(plan, "benchmark", 3600)


def calls_of(case: Case, round_: Round, judge: JudgeSettings, first: int) -> list[JudgeCall]:
    """Return as many different requests as the case has calls."""
    spec = PromptSpec(round_.plan.templates[0], judge.model, request_parameters(judge), 0)
    return [
        rank_call(spec, "rank", f"{first + number}", f"Question {first + number}?", TEXTS, (), 0)
        for number in range(case.calls)
    ]


def ours(case: Case, config: ExperimentConfig) -> float:
    """Return the calls per second on the path of a run."""
    with open_session(config) as session:
        round_ = round_on(session.store, config)
        spec = PromptSpec(round_.plan.templates[0], config.judge.model, request_parameters(config.judge), 0)

        def job(number: int) -> JudgeJob[bool]:
            async def run(ask_judge: AskJudge) -> bool:
                question = f"Question {number}?"
                call = rank_call(spec, "rank", f"{number}", question, TEXTS, (), 0)
                reply = await ask_judge(call)
                return isinstance(reply, Reply) and bool(parse_verdict(call, reply))

            return run

        session.run_jobs(round_, "warm up", [job(-1 - number) for number in range(8)])
        started = time.perf_counter()
        verdicts = session.run_jobs(round_, "throughput", [job(number) for number in range(case.calls)])
        rate = case.calls / (time.perf_counter() - started)
        assert all(verdicts)
        assert len(session.store.calls.answered_keys("throughput")) == case.calls + 8
        return rate


def naive(case: Case, config: ExperimentConfig) -> float:
    """Return the calls per second of batches with barriers."""
    case = Case(**{**asdict(case), "calls": max(case.in_flight * 4, case.calls // 10)})
    with open_session(config) as session:
        round_ = round_on(session.store, config)
        calls = calls_of(case, round_, config.judge, 0)

        async def one(client: AsyncOpenAI, call: JudgeCall) -> None:
            messages: Any = list(call.messages)
            parameters: Any = dict(call.parameters)
            completion = await client.chat.completions.create(model=call.model, messages=messages, **parameters)
            usage = completion.usage
            assert usage is not None
            text = completion.choices[0].message.content or ""
            reply = Reply(text, completion.model, usage.prompt_tokens, usage.completion_tokens, 0.0, 0.0)
            session.store.calls.record_reply(round_.id, call, reply)
            assert parse_verdict(call, reply)

        async def run() -> float:
            async with AsyncOpenAI(base_url=config.judge.base_url, api_key="no-key") as client:
                started = time.perf_counter()
                for start in range(0, len(calls), case.in_flight):
                    await asyncio.gather(*(one(client, call) for call in calls[start : start + case.in_flight]))
                return len(calls) / (time.perf_counter() - started)

        return asyncio.run(run())


def measured(case: Case, solution: Callable[[Case, ExperimentConfig], float]) -> float:
    """Run one solution against its own server and database."""
    with tempfile.TemporaryDirectory() as home, waiting_server(case) as url:
        os.environ.update(CYCLEALIGN_HOME=home, OPENAI_API_KEY="no-key")
        os.environ.pop("CYCLEALIGN_DATABASE_URL", None)
        return solution(case, settings_for(case, url))


def report(case: Case, repeats: int) -> dict[str, float]:
    """Return the figures of one case: the median of ``repeats`` runs of ours, and one naive run."""
    rate = median(measured(case, ours) for _ in range(repeats))
    return {
        "latency_ms": case.latency_ms,
        "slow_share": case.slow_share,
        "in_flight": case.in_flight,
        "calls": case.calls,
        "calls_per_second": round(rate, 1),
        "ideal_calls_per_second": round(case.ideal, 1),
        "share_of_ideal": round(rate / case.ideal, 3),
        "naive_calls_per_second": round(measured(case, naive), 1),
        "overhead_ms_per_call": round((case.in_flight / rate - case.in_flight / case.ideal) * 1e3, 2),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--case", type=int, action="append", help="Number of a case, from 0. Default: all.")
    options = parser.parse_args()
    rows = [report(CASES[number], options.repeats) for number in options.case or range(len(CASES))]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
