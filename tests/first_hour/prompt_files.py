"""Prompt files in the forms that people have; each holds the same questions."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.tiny import WORDS

COUNT = 24


def questions() -> list[str]:
    """Return distinct questions in words that the tiny models know."""
    return [f"how do I {WORDS[n % len(WORDS)]} the {WORDS[(n * 7 + 3) % len(WORDS)]} {n}" for n in range(COUNT)]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def lines(row: Callable[[str], Any]) -> bytes:
    """Return a JSON Lines file with a row for each question."""
    return "".join(json.dumps(row(question)) + "\n" for question in questions()).encode()


def table() -> bytes:
    """Return a CSV file with a column ``prompt``."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["id", "prompt"], *([number, question] for number, question in enumerate(questions()))])
    return text.getvalue().encode()


def array() -> bytes:
    """Return one JSON array."""
    return json.dumps([{"prompt": question} for question in questions()]).encode()


FORMS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "prompt": ("jsonl", lambda: lines(lambda question: {"prompt": question})),
    "byte order mark and CRLF": (
        "jsonl",
        lambda: b"\xef\xbb\xbf" + lines(lambda question: {"prompt": question}).replace(b"\n", b"\r\n"),
    ),
    "UTF-16": ("jsonl", lambda: lines(lambda question: {"prompt": question}).decode().encode("utf-16")),
    "JSON array": ("json", array),
    "CSV": ("csv", table),
    "text": ("txt", lambda: "\n".join(questions()).encode()),
    "messages with a system turn": (
        "jsonl",
        lambda: lines(lambda question: {"messages": [{"role": "system", "content": "be kind"}, user(question)]}),
    ),
    "several turns": (
        "jsonl",
        lambda: lines(lambda question: {"messages": [user("hello"), assistant("yes"), user(question)]}),
    ),
    "ShareGPT": (
        "jsonl",
        lambda: lines(
            lambda question: {
                "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": "yes you can"}]
            }
        ),
    ),
    "instruction and input": ("jsonl", lambda: lines(lambda question: {"instruction": "answer", "input": question})),
    "preferences": (
        "jsonl",
        lambda: lines(
            lambda question: {
                "prompt": [user(question)],
                "chosen": [assistant("yes you can fix the pump")],
                "rejected": [assistant("no")],
            }
        ),
    ),
    "HH-RLHF": (
        "jsonl",
        lambda: lines(
            lambda question: {
                "chosen": f"\n\nHuman: {question}\n\nAssistant: yes you can fix it",
                "rejected": f"\n\nHuman: {question}\n\nAssistant: no",
            }
        ),
    ),
}


def write(form: str, folder: Path) -> Path:
    """Write the file of a form and return its path."""
    ending, content = FORMS[form]
    path = folder / f"prompts.{ending}"
    path.write_bytes(content())
    return path
