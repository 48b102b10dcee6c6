"""Check a database with the folders that its rows name: file, keys, hashes, adapters, probes, students."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cyclealign.policy import weights
from cyclealign.policy.attestation import PROBE_FILE, Probe
from cyclealign.records import Adapter
from cyclealign.store import Store

MAX_NAMED = 5
RESTORE = "Restore a backup (`cyclealign db backup` makes one)"
REMEDIES: Mapping[str, str] = {
    "prompt": "Import the file of these prompts again; answers to them are kept",
    "labelled_list": "Import the file of these lists again",
    "template": "Restore a backup: the judge's replies under this version can no longer be explained",
    "demonstration": "Restore a backup, or abandon the open round, so that the next one draws new demonstrations",
    "judge_call": "Restore a backup, or leave it: such a reply is not found again, and its request would be paid again",
}


@dataclass(frozen=True)
class Check:
    """One check: its subject, the number of things checked, and a sentence with its remedy for each problem."""

    subject: str
    checked: int
    problems: tuple[str, ...] = ()


def check_database(store: Store) -> Iterator[Check]:
    """Yield the result of each check; nothing is changed."""
    yield Check("file", 1, tuple(f"{line}. {RESTORE}." for line in store.integrity.problems_of_file()))
    dangling = store.integrity.dangling()
    keys = tuple(f"{key}: {rows} rows point nowhere. {RESTORE}." for key, rows in dangling.items())
    yield Check("foreign keys", store.integrity.foreign_keys(), keys)
    for table, checked in store.integrity.hashes().items():
        yield Check(f"hashes of {table}", checked.rows, _hash_problems(table, checked.wrong))
    adapters = store.integrity.adapters()
    yield Check("adapters", len(adapters), tuple(_adapter_problems(adapters)))
    yield Check("probes", len(adapters), tuple(_probe_problems(adapters)))


def _hash_problems(table: str, wrong: tuple[str, ...]) -> tuple[str, ...]:
    if not wrong:
        return ()
    more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
    return (f"the content of {', '.join(wrong[:MAX_NAMED])}{more} does not match its hash. {REMEDIES[table]}.",)


def _adapter_problems(adapters: list[tuple[Adapter, str, str | None]]) -> Iterator[str]:
    for adapter, round_, verdict in adapters:
        folder = Path(adapter.path)
        if weights.holds(folder, adapter.content_hash):
            continue
        what = "have changed" if weights.files(folder) else "are missing"
        yield f"the weights of {round_} in {folder} {what}. {_weights_remedy(verdict)}"


def _weights_remedy(verdict: str | None) -> str:
    if verdict in ("accepted", None):
        return "The next run trains them again from the stored round; or restore the folder from a backup."
    return "Nothing needs them: the round was not accepted."


def _probe_problems(adapters: list[tuple[Adapter, str, str | None]]) -> Iterator[str]:
    for adapter, round_, _ in adapters:
        try:
            probe = Probe.load(Path(adapter.path))
            complete = probe is None or len(probe.own) == len(probe.parent) == len(probe.base)
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError):
            complete = False
        if not complete:
            path = Path(adapter.path) / PROBE_FILE
            remedy = "Restore it, or delete it: vLLM is then not checked for these weights"
            yield f"{path} of {round_} cannot be read. {remedy}."
