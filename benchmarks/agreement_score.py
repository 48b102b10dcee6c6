"""The scores of the policy's own ranking against reference orders: ``python -m benchmarks.agreement_score --json``.

Sets: replies ranked by people (oasst_en_100), answers of one policy scored by GPT-4 (rewardbench_bon16), answers of
five models labelled by people (xstest); and the demo world, round by round. Policies: the model of ``--model``, and a
LoRA of it trained by RRHF on lists of these sets that it is not measured on. Answers are cut after ``--tokens`` tokens;
lengths are those of the whole answers.

A model of 270 million parameters takes seconds for each list on one core. ``--minutes`` bounds a run; the next one goes
on from the log-probs in ``--work``, and the tables show the lists that are complete.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.agreement_adapter import rrhf_adapter
from benchmarks.agreement_demo import all_scores, demo_lists, implicit_scores
from benchmarks.agreement_lists import SOURCES, lists_of
from benchmarks.agreement_logprobs import KINDS, Logprobs, OutOfTime
from benchmarks.agreement_tables import ScoredList, Values, as_markdown, table
from benchmarks.judge_accuracy import List
from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.records import Adapter

Sets = Mapping[str, Sequence[List]]


def measure(logprobs: Logprobs, sets: Sets, options: argparse.Namespace) -> None:
    """Measure what is missing, a list of each set in turn, so that a run that ends early has something of each."""
    for kind in KINDS:
        for rows in zip(*sets.values(), strict=False):
            for row in rows:
                logprobs.of(row, kind)
    adapter = the_adapter(logprobs, sets, options)
    for rows in list(zip(*sets.values(), strict=False))[1::2]:
        for row in rows:
            logprobs.of(row, "with_question", adapter)


def the_adapter(logprobs: Logprobs, sets: Sets, options: argparse.Namespace) -> Adapter:
    """Return the adapter that learnt the lists with even numbers, up to ``--train`` of each set."""
    learnt = [row for rows in sets.values() for row in rows[: 2 * options.train : 2]]
    return rrhf_adapter(lambda: logprobs.policy, options.model, learnt, options.tokens, options.work / "rrhf")


def scored(
    logprobs: Logprobs, row: List, lengths: Mapping[str, int], cut: int, adapter: Adapter | None
) -> ScoredList | None:
    """Return a list with all scores whose log-probs are stored; None without any."""
    stored = {kind: _stored(logprobs, row, kind) for kind in KINDS}
    base, tokens = stored["with_question"], {item: min(count, cut) for item, count in lengths.items()}
    if base is None:
        return None
    measured = all_scores(base, tokens, lengths, stored["without_question"])
    if labels := stored["self_judgement"]:
        measured["self_judgement"] = labels
    if adapter is not None and (trained := _stored(logprobs, row, "with_question", adapter)):
        measured["mean_logprob of the LoRA"] = all_scores(trained, tokens)["mean_logprob"]
        measured |= implicit_scores(trained, tokens, base)
    return ScoredList(row.quality, lengths, measured)


def _stored(logprobs: Logprobs, row: List, kind: str, adapter: Adapter | None = None) -> Values | None:
    try:
        return logprobs.of(row, kind, adapter, stored_only=True)
    except OutOfTime:
        return None


def results(logprobs: Logprobs, sets: Sets, options: argparse.Namespace) -> dict[str, Any]:
    """Return the tables of the sets, from what is stored."""
    tokenizer = load_tokenizer(options.model, None, False)
    trained = (options.work / "rrhf").exists()
    adapter = the_adapter(logprobs, sets, options) if trained else None

    def lengths(row: List) -> dict[str, int]:
        return {item: len(tokenizer(text, add_special_tokens=False)["input_ids"]) for item, text in row.answers.items()}

    tables = {}
    for source, rows in sets.items():
        measured = [scored(logprobs, row, lengths(row), options.tokens, adapter) for row in rows]
        if complete := [row for row in measured if row is not None]:
            tables[source] = table(complete)
    return tables


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure within the minutes given, and return all tables."""
    torch.set_num_threads(1)  # threads that wait in a loop take more of a shared machine than they give
    tables: dict[str, Any] = {}
    if options.model and (options.data / "oasst_en_100").is_dir():
        sets = {source: lists_of(options.data, source, options.lists) for source in SOURCES}
        file = options.work / "logprobs.jsonl"
        logprobs = Logprobs(options.model, options.tokens, file, time.monotonic() + 60 * options.minutes)
        finished = True
        try:
            measure(logprobs, sets, options)
        except OutOfTime:
            finished = False
        tables = {"finished": finished, "sets": results(logprobs, sets, options)}
    else:
        tables["left_out"] = f"no --model, or no data at {options.data}"
    if options.rounds:
        demo = demo_lists(options.work / "demo", options.rounds)
        tables["demo"] = {
            f"round {number}, {reference}": table(lists)
            for number, both in demo.items()
            for reference, lists in zip(("gold quality", "the judge"), both, strict=True)
        }
    return tables


def main() -> None:
    """Print the tables as Markdown, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", help="folder of a chat model, such as that of `python -m benchmarks.gemma FOLDER`")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path(".cyclealign/benchmarks/agreement-score"))
    parser.add_argument("--lists", type=int, default=40, help="of each set")
    parser.add_argument("--train", type=int, default=12, help="lists of each set that the LoRA learns")
    parser.add_argument("--tokens", type=int, default=48, help="answers are cut after this many")
    parser.add_argument("--rounds", type=int, default=3, help="of the demo world; 0: without it")
    parser.add_argument("--minutes", type=float, default=60.0)
    found = run(parser.parse_args())
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
        return
    for part in ("sets", "demo"):
        for title, rows in found.get(part, {}).items():
            print(as_markdown(title, rows), end="\n\n")
    print(found.get("left_out", ""))


if __name__ == "__main__":
    main()
