"""How the simulated judge reads a request: as text, block by block, the way the marks tell it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FIRST_QUESTION = re.compile(r"^\[\[question (\S+)\]\]$", re.MULTILINE)


@dataclass
class Block:
    """A question with the answers under it, and the ranking that follows them (None in the one to be ranked)."""

    question: str
    answers: dict[str, str] = field(default_factory=dict)
    ranking: tuple[str, ...] | None = None

    @property
    def ranked_answers(self) -> list[str]:
        """The answers best first; empty unless the ranking names each of them once."""
        if self.ranking is None or sorted(self.ranking) != sorted(self.answers):
            return []
        return [self.answers[label] for label in self.ranking]


def read_blocks(message: str) -> list[Block]:
    """Every question block of a message that carries the code of the first one; marks with another code are text."""
    first = FIRST_QUESTION.search(message)
    if first is None:
        return []
    code = re.escape(first.group(1))
    opening = re.compile(rf"\[\[(question|answer (\S+)) {code}\]\]")
    blocks: list[Block] = []
    lines = iter(message[first.start() :].split("\n"))
    for line in lines:
        mark = opening.fullmatch(line)
        if mark is None:
            _read_ranking(line, blocks)
            continue
        text = _until(f"[[/{mark.group(1)} {first.group(1)}]]", lines)
        if mark.group(2) is None:
            blocks.append(Block(text))
        else:
            blocks[-1].answers[mark.group(2)] = text
    return blocks


def _until(closing: str, lines: Iterator[str]) -> str:
    """The lines up to the closing mark; whatever else they look like, they are text."""
    text: list[str] = []
    for line in lines:
        if line == closing:
            break
        text.append(line)
    return "\n".join(text)


def _read_ranking(line: str, blocks: Sequence[Block]) -> None:
    """Give the last block the ranking in ``line``, if it is one and the block waits for it."""
    if not line.startswith("{") or blocks[-1].ranking is not None:
        return
    try:
        value = json.loads(line)
    except ValueError:
        return
    ranking = value.get("ranking") if isinstance(value, dict) else None
    if isinstance(ranking, list):
        blocks[-1].ranking = tuple(str(label) for label in ranking)
