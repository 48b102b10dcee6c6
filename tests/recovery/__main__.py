"""Disturb runs at many seeded points and print a table by case.

``python -m tests.recovery --kills 200 --seed 1 --json``. The exit code is 1 if anything was lost, doubled or damaged.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.recovery.campaign import KILLS_A_TRIAL, Campaign, Skipped, Trial
from tests.recovery.fork_server import ForkServer
from tests.support.tiny import make_model

# The shares of the cases. The first also gets what the others leave.
SHARES = {
    "SIGKILL": 0.57,
    "SIGTERM": 0.1,
    "SIGSTOP past the lease": 0.05,
    "training child": 0.05,
    "disk full": 0.05,
    "connection cut": 0.1,
    "connection stalled": 0.05,
    "server": 0.01,
    "worker": 0.01,
    "server and worker": 0.01,
}
CUTS_A_TRIAL = 5
KILLS_OF_UP = 2


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery", description="Disturb runs, compare their rows.")
    parser.add_argument("--kills", type=int, default=200, help="number of disturbances")
    parser.add_argument("--seed", type=int, default=1, help="of the points")
    parser.add_argument("--only", choices=SHARES, help="one case")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    started, trials, skipped = time.monotonic(), list[Trial](), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder, ForkServer() as server:
        campaign = Campaign(Path(folder), make_model(Path(folder) / "model"), server, options.seed)
        for case, count in counts(options.kills, options.only).items():
            try:
                for trial in tried(campaign, case, count):
                    trials.append(trial)
                    print(json.dumps(asdict(trial)), file=sys.stderr, flush=True)
            except Skipped as reason:
                skipped[case] = str(reason)
    result = {"seed": options.seed, "seconds": round(time.monotonic() - started), "skipped": skipped}
    rows = summary(trials)
    if options.json:
        print(json.dumps({**result, "cases": rows}, indent=2))
    else:
        print_table(rows, skipped)
    sys.exit(any(not trial.same for trial in trials))


def counts(kills: int, only: str | None) -> dict[str, int]:
    """Return the number of disturbances of each case."""
    if only is not None:
        return {only: kills}
    shared = {case: max(1, int(share * kills)) for case, share in SHARES.items() if case != "SIGKILL"}
    return {"SIGKILL": max(1, kills - sum(shared.values())), **shared}


def tried(campaign: Campaign, case: str, count: int) -> Iterator[Trial]:
    """Yield the trials of a case."""
    several: dict[str, tuple[int, Callable[[int], Trial]]] = {
        "SIGKILL": (KILLS_A_TRIAL, lambda size: campaign.signalled("kill", size)),
        "SIGTERM": (KILLS_A_TRIAL, lambda size: campaign.signalled("term", size)),
        "connection cut": (CUTS_A_TRIAL, lambda size: campaign.connection("cut", size)),
        "connection stalled": (CUTS_A_TRIAL, lambda size: campaign.connection("stalled", size)),
        "server": (KILLS_OF_UP, lambda size: campaign.launched("server", size)),
        "worker": (KILLS_OF_UP, lambda size: campaign.launched("worker", size)),
        "server and worker": (KILLS_OF_UP, lambda size: campaign.launched("server and worker", size)),
    }
    one = {
        "SIGSTOP past the lease": campaign.stopped,
        "training child": campaign.training_child,
        "disk full": campaign.full_disk,
    }
    if case in one:
        yield from (one[case]() for _ in range(count))
        return
    size, attempt = several[case]
    while count > 0:
        yield attempt(min(size, count))
        count -= size


def summary(trials: list[Trial]) -> list[dict[str, object]]:
    """Return a row for each case."""
    cases = dict.fromkeys(trial.case for trial in trials)
    return [row_of(case, [trial for trial in trials if trial.case == case]) for case in cases]


def row_of(case: str, trials: list[Trial]) -> dict[str, object]:
    """Return the row of a case: experiments, disturbances, and how many ended as an undisturbed one."""
    ended = [trial for trial in trials if not trial.error]
    return {
        "case": case,
        "experiments": len(trials),
        "disturbed": sum(trial.disturbances for trial in trials),
        "rows_equal": sum(not trial.differing for trial in ended),
        "hashes_equal": sum(not trial.damage and "adapter" not in trial.differing for trial in ended),
        "asked_again": sum(trial.asked_again for trial in trials),
        "lost": sum(not trial.same for trial in trials),
    }


def print_table(rows: list[dict[str, object]], skipped: dict[str, str]) -> None:
    """Print the cases, and the reasons of those that were skipped."""
    table = Table(*(str(name).replace("_", " ") for name in rows[0]))
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console()
    console.print(table)
    for case, reason in skipped.items():
        console.print(f"{case}: skipped, {reason}")


if __name__ == "__main__":
    main()
