"""The data card of an export: a README.md with the header that the Hugging Face hub reads."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cyclealign import __version__
from cyclealign.export.columns import Column, Kind
from cyclealign.export.judged_lists import JudgedList
from cyclealign.text import plain_text

NAME = "README.md"
MARK = "<!-- written by cyclealign export -->"
FORMS: dict[Kind, str] = {
    "rankings": "ranked lists: the policy's answers to a prompt, best first",
    "preferences": "preference pairs in TRL's conversational form with an explicit prompt",
    "sft": "prompts with the best answer, for supervised fine-tuning with TRL",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass
class Origins:
    """Counts of the exported rows and lists by origin, kept while they are written."""

    rows: int = 0
    lists: int = 0
    by_people: int = 0
    max_answers: int = 0
    # (round, verdict, judges, template versions, method, adapter) -> lists, and those that people ranked
    rounds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    people: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def noted(self, ranked: JudgedList) -> JudgedList:
        """Count a list, and return it."""
        adapter = ranked.answers[0].adapter_id or f"none ({ranked.round.plan.base_model})"
        key = (
            str(ranked.round.number),
            ranked.round_verdict,
            ", ".join(ranked.judges),
            ", ".join(ranked.template_versions),
            ranked.config.judge.method,
            adapter,
        )
        self.lists += 1
        self.by_people += ranked.by_person
        self.max_answers = max(self.max_answers, len(ranked.answers))
        self.rounds[key] += 1
        self.people[key] += ranked.by_person
        return ranked


def is_ours(folder: Path) -> bool:
    """Return whether the folder holds an export of this program."""
    path = folder / NAME
    return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")


def data_card(kind: Kind, experiment: str, described: Mapping[str, Column], origins: Origins, file: str) -> str:
    """Return the card: header, origin of the rows by round, columns, and how to read the file.

    Args:
        file: the file of the rows; empty for a data set that `datasets` saved; ``records.json``: Argilla's records.
    """
    argilla = file == "records.json"
    parts = [
        _header(kind, experiment, origins, file),
        MARK,
        f"# {experiment}: {kind}",
        f"Rows: {origins.rows}, from {origins.lists} lists. Contents: {FORMS[kind]}. Written by cyclealign "
        f"{__version__}.",
        "The orders are those of the judge, a language model, except where a person ranked the list (`ranked_by`). "
        f"Lists ranked by people: {origins.by_people}. The answers were written by the policy, a language model. The "
        "licences of the prompts, of both models and the terms of the judge's provider apply.",
        "## Origin",
        _origin_table(origins),
        "## Columns" if not argilla else "## Metadata and fields",
        _column_table(described) if not argilla else ARGILLA_FIELDS,
        "## Reading it",
        _reading(kind, file, origins.max_answers),
    ]
    return "\n\n".join(parts) + "\n"


def _header(kind: Kind, experiment: str, origins: Origins, file: str) -> str:
    size = next((name for limit, name in SIZES if origins.rows < limit), "n>1M")
    lines = [
        f"pretty_name: {json.dumps(f'{experiment}: {kind}')}",
        "task_categories:\n- text-generation",
        f"size_categories:\n- {json.dumps(size)}",
        f"tags:\n- cyclealign\n- trl\n- {json.dumps(kind)}",
    ]
    if file and file != "records.json":
        lines.append(f"configs:\n- config_name: default\n  data_files: {json.dumps(file)}")
    return "---\n" + "\n".join(lines) + "\n---"


def _origin_table(origins: Origins) -> str:
    head = ["round", "verdict", "judge", "template version", "method", "adapter", "lists", "ranked by people"]
    rows = [[*key, str(count), str(origins.people[key])] for key, count in origins.rounds.items()]
    return table(head, rows)


def _column_table(described: Mapping[str, Column]) -> str:
    return table(["column", "meaning"], [[f"`{name}`", column.meaning] for name, column in described.items()])


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table whose cells hold any text."""
    lines = [list(head), ["---"] * len(list(head)), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return text that stays in its cell: a name of a model may hold anything."""
    return " ".join(plain_text(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _reading(kind: Kind, file: str, max_answers: int) -> str:
    again = f"`cyclealign prompts import {file or 'FOLDER'} --set NAME --hold-out-labelled` reads the prompts"
    again += "." if kind == "sft" else " and the ranked answers back."
    if file == "records.json":
        return f"```python\n{_argilla_settings(max_answers)}\n```\n\n{again}"
    if not file:
        return f'```python\nfrom datasets import load_from_disk\n\nrows = load_from_disk("FOLDER")\n```\n\n{again}'
    return (
        f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset("FOLDER", split="train")\n```\n\n{again}'
    )


ARGILLA_FIELDS = (
    "`fields.prompt` is the conversation; `fields.response-1` and so on are the answers in the order in which they "
    "were written. The suggestion `ranking` is the judge's order, best first, or that of a person (type `human`). The "
    "metadata tell experiment, round, judge, template version, method, adapter and agreement."
)


def _argilla_settings(max_answers: int) -> str:
    names = [f"response-{number}" for number in range(1, max_answers + 1)]
    return f"""import argilla as rg

names = {json.dumps(names)}
settings = rg.Settings(
    fields=[rg.ChatField("prompt"), *[rg.TextField(name, required=name in names[:2]) for name in names]],
    questions=[rg.RankingQuestion("ranking", values=names)],
    allow_extra_metadata=True,
)
dataset = rg.Dataset(name="NAME", settings=settings)
dataset.create()
dataset.records.from_json("records.json")"""
