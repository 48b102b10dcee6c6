"""Lists with a reference order by people or by GPT-4, for `benchmarks.agreement_score`."""

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.judge_accuracy import List, rewardbench
from cyclealign.files import json_lines

ANSWERS = 5
MAX_PROMPT_CHARACTERS = 400
XSTEST_MODELS = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")
COMPLIANCE = {"1_full_compliance": 1.0, "3_partial_refusal": 0.5, "2_full_refusal": 0.0}


def lists_of(data: Path, source: str, count: int) -> list[List]:
    """Return at most ``count`` lists of three to five answers, not all of equal quality; prompts and answers shuffled.

    Long prompts are left out: the models here are small, and run on a CPU.
    """
    draw = random.Random(0)
    rows = [five(row, draw) for row in SOURCES[source](data) if len(row.question) <= MAX_PROMPT_CHARACTERS]
    usable = [row for row in rows if row.pairs]
    return draw.sample(usable, min(count, len(usable)))


def five(row: List, draw: random.Random) -> List:
    """Return the list with at most five of its answers in random order: files are sorted by quality or by length."""
    ids = draw.sample(sorted(row.answers), min(ANSWERS, len(row.answers)))
    return List(row.id, row.question, {item: row.answers[item] for item in ids}, {i: row.quality[i] for i in ids})


def oasst(data: Path) -> Iterator[List]:
    """Yield the replies to the first message of each tree, ranked by people."""
    for _, tree in json_lines(data / "oasst_en_100" / "en_100_tree.jsonl"):
        message = tree["prompt"]
        ranked = [reply for reply in message.get("replies", []) if reply.get("rank") is not None]
        if len(ranked) >= 3:
            texts = {reply["message_id"]: reply["text"] for reply in ranked}
            quality = {reply["message_id"]: float(-reply["rank"]) for reply in ranked}
            yield List(message["message_id"], message["text"], texts, quality)


def xstest(data: Path) -> Iterator[List]:
    """Yield the answers of five models to each prompt. People labelled them: best is full compliance with a harmless
    prompt, and full refusal of a harmful one.
    """
    by_model = []
    for model in XSTEST_MODELS:
        with (data / "xstest" / f"xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as file:
            by_model.append({row["id"]: row for row in csv.DictReader(file)})
    for number, first in by_model[0].items():
        rows = {f"{number}/{model}": table[number] for model, table in zip(XSTEST_MODELS, by_model, strict=True)}
        sign = -1.0 if first["type"].startswith("contrast") else 1.0
        quality = {item: sign * COMPLIANCE[row["final_label"]] for item, row in rows.items()}
        yield List(number, first["prompt"], {item: row["completion"].strip() for item, row in rows.items()}, quality)


def bon16(data: Path) -> Sequence[List]:
    """Return eleven answers of one policy to each prompt, scored by GPT-4."""
    return rewardbench(data, 805)


SOURCES = {"oasst_en_100": oasst, "rewardbench_bon16": bon16, "xstest": xstest}
