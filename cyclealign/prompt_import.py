"""Read prompts to align on: JSON Lines, HH-RLHF's format, or a Hugging Face data set; all of a source or nothing."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.errors import BadPrompts
from cyclealign.files import json_lines
from cyclealign.records import LabelledList, Message, Messages, Prompt, Split

ROLES = ("system", "user", "assistant")
TURN = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True)
class Imported:
    """The contents of a source: prompts with their split, and labelled lists of held-out prompts only."""

    prompts: tuple[tuple[Prompt, Split], ...]
    labelled: tuple[LabelledList, ...]


def read_source(source: str, held_out_share: float = 0.1) -> Imported:
    """Read prompts from a file (``.jsonl``, ``.jsonl.gz``) or a Hugging Face data set (``name`` or ``name:split``).

    A row has ``prompt`` (text), ``messages`` (chat turns that end with the user's), or HH-RLHF's ``chosen`` and
    ``rejected`` dialogues. Equal prompts are read once. The split depends on nothing but the prompt's hash.

    Raises:
        BadPrompts: a row cannot be read; the message names file and line.
    """
    prompts: dict[str, Prompt] = {}
    pairs: dict[str, LabelledList] = {}
    for where, row in _rows(source):
        prompt, pair = _read_row(row, where)
        prompts.setdefault(prompt.id, prompt)
        if pair is not None and split_of(prompt, held_out_share) == "held_out":
            pairs.setdefault(pair.id, pair)
    if not prompts:
        raise BadPrompts(f"{source} contains no prompts.")
    split = tuple((prompt, split_of(prompt, held_out_share)) for prompt in prompts.values())
    return Imported(split, tuple(pairs.values()))


def split_of(prompt: Prompt, held_out_share: float) -> Split:
    """Return the split of a prompt, by its hash: the same prompt is always in the same split."""
    return "held_out" if int(prompt.id[:8], 16) < held_out_share * 16**8 else "train"


def _rows(source: str) -> Iterator[tuple[str, Any]]:
    path = Path(source)
    if path.is_file():
        yield from _file_rows(path)
    elif path.suffix in {".jsonl", ".gz", ".json"} or path.exists():
        raise BadPrompts(f"{source}: no such file.")
    else:
        yield from _dataset_rows(source)


def _file_rows(path: Path) -> Iterator[tuple[str, Any]]:
    for where, row in json_lines(path, BadPrompts):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadPrompts(f"{where}: half a character (a lone surrogate), which databases cannot store.") from error
        yield where, row


def _dataset_rows(source: str) -> Iterable[tuple[str, Any]]:
    from datasets import load_dataset

    name, _, split = source.partition(":")
    try:
        rows = load_dataset(name, split=split or "train")
    except Exception as error:  # the hub's client raises many kinds
        raise BadPrompts(
            f"'{source}' is neither a local file nor a data set that can be fetched ({type(error).__name__}: {error})."
        ) from error
    return ((f"{source}, row {number}", dict(row)) for number, row in enumerate(rows, 1))


def _read_row(row: Any, where: str) -> tuple[Prompt, LabelledList | None]:
    if not isinstance(row, dict):
        raise BadPrompts(f'{where}: expected an object such as {{"prompt": "..."}}.')
    if isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str):
        return _hh_rlhf(row["chosen"], row["rejected"], where)
    if "messages" in row:
        return Prompt.of(_messages(row["messages"], where)), None
    if isinstance(row.get("prompt"), str) and row["prompt"].strip():
        return Prompt.of((Message(role="user", content=row["prompt"].strip()),)), None
    raise BadPrompts(
        f"{where}: expected a non-empty 'prompt', 'messages', or 'chosen' and 'rejected' dialogues; "
        f"found: {', '.join(map(str, row)) or 'nothing'}."
    )


def _messages(turns: Any, where: str) -> Messages:
    if not isinstance(turns, list) or not turns:
        raise BadPrompts(f"{where}: 'messages' must be a non-empty list of turns.")
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise BadPrompts(f"{where}: each turn needs a 'role' ({', '.join(ROLES)}) and a 'content' string.")
    if turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        raise BadPrompts(f"{where}: the last turn must be a non-empty turn of the user, which the policy answers.")
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)


def _hh_rlhf(chosen: str, rejected: str, where: str) -> tuple[Prompt, LabelledList | None]:
    """Return the conversation before the last answer, and the two answers in the human's order."""
    turns, best = _dialogue(chosen, where)
    other_turns, worst = _dialogue(rejected, where)
    prompt = Prompt.of(turns)
    usable = turns == other_turns and best != worst and best and worst
    return prompt, LabelledList(prompt, (best, worst), "HH-RLHF") if usable else None


def _dialogue(text: str, where: str) -> tuple[Messages, str]:
    """Return the turns before the last answer, and that answer.

    Consecutive turns of one speaker, which HH-RLHF has, are joined.
    """
    pieces = TURN.split(text)
    roles = {"Human": "user", "Assistant": "assistant"}
    turns: list[Message] = []
    for speaker, content in zip(pieces[1::2], pieces[2::2], strict=True):
        if turns and turns[-1]["role"] == roles[speaker]:
            turns[-1]["content"] += "\n\n" + content.strip()
        else:
            turns.append(Message(role=roles[speaker], content=content.strip()))
    if pieces[0].strip() or len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise BadPrompts(
            f"{where}: a dialogue must read '\\n\\nHuman: ...\\n\\nAssistant: ...' and end with the assistant."
        )
    return tuple(turns[:-1]), turns[-1]["content"]
