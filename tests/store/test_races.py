"""Several processes at one database: one of them wins, and the others lose nothing."""

import os
import subprocess
import sys

import pytest

from cyclealign.store import Store
from tests.support.paths import ROOT
from tests.support.store_values import opened, prompts

pytestmark = pytest.mark.slow

PROCESSES = 4
START = """
import sys
from cyclealign.errors import ExperimentBusy, LeaseLost
from cyclealign.records import Adapter, CallOutcome
from cyclealign.store import Store
from tests.support.store_values import call, plan, prompts, reply
place = int(sys.argv[2])
with Store.open(sys.argv[1]) as store:
    store.experiments.names()
    print("ready", flush=True); sys.stdin.readline()
"""


def at_once(url: str, code: str) -> list[str]:
    """Run the code in several processes, which begin together; return the last line of each. It has store, place."""
    body = START + "".join(f"    {line}\n" for line in code.strip().splitlines())
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT, "env": {**os.environ}}
    commands = [[sys.executable, "-c", body, url, str(place)] for place in range(PROCESSES)]
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    return [output.strip().splitlines()[-1] if output.strip() else "" for output in ended]


def test_one_process_opens_a_round_takes_the_lease_and_closes_it(database: str) -> None:
    """Prevents two open rounds of one experiment, two owners, and a verdict that replaces another."""
    with Store.open(database) as store:
        store.prompts.add("set", [(prompt, "train") for prompt in prompts(0, 4)], "test")
    results = at_once(
        database,
        """
try:
    print("opened", store.rounds.open(plan(drawn=prompts(0, 4)), f"owner {place}", 60).number)
except ExperimentBusy:
    print("busy")
""",
    )
    assert sorted(results) == ["busy"] * 3 + ["opened 1"]
    leases = at_once(database, 'print(store.leases.take("trial", f"owner {place}", "run", 60, lambda _: True) is None)')
    assert sorted(leases) == ["False"] * 3 + ["True"]
    verdicts = at_once(
        database,
        """
try:
    store.rounds.take_over(1, f"h/1/1.0/owner {place}", 60, lambda _: False)
    store.rounds.close(1, f"h/1/1.0/owner {place}", "accepted", f"by {place}")
    print("closed")
except (LeaseLost, ExperimentBusy):
    print("lost")
""",
    )
    assert verdicts.count("closed") == 1


def test_a_round_has_one_adapter_whoever_adds_it(database: str) -> None:
    """Prevents a round whose processes go on from different weights."""
    with Store.open(database) as store:
        opened(store)
    code = 'print(store.adapters.add(1, Adapter(f"adapter {place}", "a", f"hash {place}", None), "a-model").id)'
    assert len(set(at_once(database, code))) == 1


def test_processes_that_write_the_same_rows_in_other_orders_all_succeed(database: str) -> None:
    """Prevents a deadlock, which the database ends by refusing one of the transactions, from ending a run."""
    with Store.open(database) as store:
        opened(store)
    code = """
drawn = prompts(100, 400)[:: 1 if place % 2 else -1]
calls = [CallOutcome(call(number), reply()) for number in range(300)][:: 1 if place % 2 else -1]
for _ in range(3):
    store.prompts.add("other", [(prompt, "train") for prompt in drawn], "test")
    store.calls.record(1, calls)
print("done")
"""
    assert at_once(database, code) == ["done"] * PROCESSES
    with Store.open(database) as store:
        assert len(store.prompts.first("other", "train", 1000)) == 300
        spent = store.calls.spending("trial")
        assert spent.calls == 300
