"""The queries, views and commands whose times and memory are measured on a long history; each in a process of its own.

``python -m benchmarks.history_queries NAME REPETITIONS`` prints its times and its processor times in ms, without the
first, and the peak of the resident set in MB. The database is the one of ``CYCLEALIGN_DATABASE_URL``.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.history_rows import EXPERIMENTS, SET, TEMPLATES, config
from cyclealign.config import ExperimentConfig
from cyclealign.loop.plan import plan_round
from cyclealign.loop.session import open_session
from cyclealign.records import CallOutcome, Candidate, JudgeCall, Message, Reply, Round
from cyclealign.records.content import content_id
from cyclealign.store import PromptFilter, Property, Store

BIG = EXPERIMENTS[0]
ROUND = 42
CANDIDATES_AT_ONCE, CALLS_AT_ONCE = 256, 64
OWNER = "benchmark/1/0.00/history"

QUERIES: dict[str, Callable[[Store], object]] = {
    "answered keys": lambda store: store.calls.answered_keys(BIG),
    "spending of an experiment": lambda store: store.calls.spending(BIG),
    "reply of another experiment": lambda store: store.calls.shared_reply("no such key"),
    "unfinished round": lambda store: store.rounds.unfinished(BIG),
    "last kept round": lambda store: store.rounds.last_kept(BIG),
    "active demonstrations": lambda store: store.demonstrations.active(BIG),
    "label versions": lambda store: store.templates.label_versions("rank"),
    "page of prompts": lambda store: store.history.prompts(BIG, ROUND, PromptFilter(), 20),
    "page of truncated": lambda store: store.history.prompts(BIG, 50, PromptFilter(only=(Property.TRUNCATED,)), 20),
    "sizes of prompt sets": lambda store: store.prompts.sets(BIG),
}
VIEWS = {
    "round_summary": "SELECT * FROM round_summary WHERE experiment = :name ORDER BY number",
    "round_summary, one round": "SELECT * FROM round_summary WHERE experiment = :name AND number = :number",
    "judge_spending": "SELECT model, purpose, sum(cost_usd) FROM judge_spending WHERE experiment = :name"
    " GROUP BY model, purpose",
    "answers": "SELECT prompt, answer, mean_logprob FROM answers WHERE experiment = :name AND round = :number"
    " AND judge_place = 1 AND policy_place > 2 LIMIT 20",
    "demonstration_history": "SELECT * FROM demonstration_history WHERE experiment = :name",
    "distillation_summary": "SELECT * FROM distillation_summary",
}
COMMANDS = {
    "history": ["history"],
    "history of an experiment": ["history", BIG],
    "history --json": ["history", BIG, "--json"],
    "history --round": ["history", BIG, "--round", str(ROUND)],
    "history --round --failures": ["history", BIG, "--round", str(ROUND), "--failures"],
    "experiments list": ["experiments", "list"],
    "prompts list": ["prompts", "list"],
    "prompts list --experiment": ["prompts", "list", "--experiment", BIG],
    "prompts show": ["prompts", "show", SET],
    "judges": ["judges"],
    "judges of an experiment": ["judges", BIG],
    "templates check": ["templates", "check", "--folder", str(TEMPLATES)],
    "distill list": ["distill", "list"],
    "distill show": ["distill", "show"],
    "review --list": ["review", BIG, "--list"],
}


PAGES = {
    "browse: experiments": "/",
    "browse: experiment": f"/experiments/{BIG}",
    "browse: plot": f"/experiments/{BIG}/plot.svg",
    "browse: demonstrations": f"/experiments/{BIG}/demonstrations",
    "browse: templates": f"/experiments/{BIG}/templates",
    "browse: round": f"/experiments/{BIG}/rounds/{ROUND}",
    "browse: prompt": f"/experiments/{BIG}/rounds/{ROUND}/prompts/PROMPT",
    "browse: choice of two rounds": "/compare",
    "browse: two rounds": f"/compare?first={BIG}:{ROUND}&second={BIG}:{ROUND - 1}",
    "browse: spending": "/spending",
    "browse: spending by round": f"/spending?experiment={BIG}&by=round",
    "browse: judges": "/judges",
    "browse: distillations": "/distillations",
}


def measured(name: str) -> Callable[[], object]:
    """Return the function to repeat."""
    if name in COMMANDS:
        return lambda: run_command(COMMANDS[name])
    store = Store.open()
    if name in PAGES:
        return open_page(store, PAGES[name])
    if name in QUERIES:
        return lambda: QUERIES[name](store)
    if name in VIEWS:
        return lambda: view(store, VIEWS[name])
    if name == "export":
        return export_round
    return {"open a round": open_round, "estimate": estimate}[name]


def run_command(arguments: list[str]) -> str:
    """Run a command in this process and return its output."""
    from typer.testing import CliRunner

    from cyclealign.cli.main import app

    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    if result.exit_code:
        raise SystemExit(f"{' '.join(arguments)} failed: {result.output}")
    return str(result.output)


def open_page(store: Store, address: str) -> Callable[[], object]:
    """Return a function that asks for a page of the browser's, in this process."""
    from fastapi.testclient import TestClient

    from cyclealign.browse.access import LOCAL_NAMES, Access
    from cyclealign.browse.app import make_app

    client = TestClient(make_app(store, Access("token", LOCAL_NAMES)), base_url="http://localhost:4201")
    client.get("/?token=token")
    if "PROMPT" in address:
        address = address.replace("PROMPT", store.rounds.get(BIG, ROUND).plan.prompts[0].id)

    def get() -> object:
        return client.get(address).raise_for_status()

    return get


def view(store: Store, statement: str) -> list[Any]:
    """Return the rows of a view."""
    with store.engine.connect() as connection:
        values = {"name": BIG, "number": ROUND}
        return list(
            connection.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})
        )


class AnyPolicy:
    """Replaces a policy: every prompt fits."""

    context_tokens = 1 << 30

    def prompt_ids(self, prompt: object) -> list[int]:
        """Return a few tokens."""
        return list(range(40))

    def close(self) -> None:
        """Do nothing."""


def open_round() -> None:
    """Plan and open a round of the big experiment, and abandon it; the model is the one that its rounds began with."""
    opened, store = new_round(BIG)
    with closing(store):
        store.rounds.close(opened.id, OWNER, "abandoned", "benchmark")


def new_round(experiment: str) -> tuple[Round, Store]:
    """Return a new open round, and an open store."""
    settings = config(experiment)
    settings = settings.model_copy(update={"policy": settings.policy.model_copy(update={"model": "a-model"})})
    with open_session(settings) as session:
        session.__dict__["policy"] = AnyPolicy()
        plan = plan_round(session)
        return session.store.rounds.open(plan, OWNER, 90), Store.open()


def estimate() -> object:
    """Estimate a round of the big experiment without loading a policy."""
    from cyclealign.loop.estimate import estimate

    settings: ExperimentConfig = config(BIG)
    settings = settings.model_copy(update={"policy": settings.policy.model_copy(update={"model": "a-model"})})
    return estimate(settings, 0)


def export_round() -> str:
    """Export the rankings of one round."""
    with tempfile.TemporaryDirectory() as folder:
        return run_command(["export", "rankings", BIG, "--round", str(ROUND), "--output", str(Path(folder) / "made")])


def insert_rates() -> dict[str, float]:
    """Return the candidates and calls a second that are added to an open round, which is deleted afterwards."""
    opened, store = new_round("inserted")
    with closing(store):
        rates = {"candidates": _rate_of_candidates(store, opened), "calls": _rate_of_calls(store, opened)}
        store.rounds.close(opened.id, OWNER, "abandoned", "benchmark")
        store.upkeep.delete("inserted")
    return rates


def _rate_of_candidates(store: Store, opened: Round, count: int = 20_480) -> float:
    ids = [prompt.id for prompt in opened.plan.prompts]
    made = [
        Candidate(
            content_id("inserted", place),
            ids[place % len(ids)],
            place,
            "an answer " * 15,
            tuple(range(40)),
            -9.0,
            "stop",
            None,
        )
        for place in range(count)
    ]
    started = time.perf_counter()
    for start in range(0, count, CANDIDATES_AT_ONCE):
        store.candidates.add(opened.id, made[start : start + CANDIDATES_AT_ONCE], {"temperature": 1.0})
    return count / (time.perf_counter() - started)


def _rate_of_calls(store: Store, opened: Round, count: int = 10_240) -> float:
    template, subject = opened.plan.templates[0].hash, opened.plan.prompts[0].id
    reply = Reply('{"ranking": ["A", "B"]}', "a-judge", 500, 20, 0.001, 1.0)
    made = [
        CallOutcome(
            JudgeCall(
                "rank", subject, "a-judge", template, (Message(role="user", content=f"{place} " + "word " * 360),), ()
            ),
            reply,
        )
        for place in range(count)
    ]
    for outcome in made:
        assert outcome.call.key  # hashed before the clock starts, as by the scheduler
    started = time.perf_counter()
    for start in range(0, count, CALLS_AT_ONCE):
        store.calls.record(opened.id, made[start : start + CALLS_AT_ONCE])
    return count / (time.perf_counter() - started)


def peak_memory_mb() -> float:
    """Return the peak of this process's resident set; ``ru_maxrss`` would start at that of the process before it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def main() -> None:
    """Measure the query, view or command of the command line; print JSON."""
    name, repetitions = sys.argv[1], int(sys.argv[2])
    if name == "insert":
        print(json.dumps(insert_rates()))
        return
    run = measured(name)
    times, processor = [], []
    for _ in range(repetitions + 1):
        started, busy = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - started) * 1e3)
        processor.append((time.process_time() - busy) * 1e3)
    made = {"first_ms": times[0], "times_ms": times[1:], "processor_ms": processor[1:]}
    print(json.dumps({**made, "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()
