"""Parse a request for the simulated judge: blocks of question, answers and ranking, by their delimiters."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FIRST_QUESTION = re.compile(r"^\[\[question (\S+)\]\]$", re.MULTILINE)


@dataclass
class Block:
    """A question, its answers by label, and the ranking that follows; None in the block to rank."""

    question: str
    answers: dict[str, str] = field(default_factory=dict)
    ranking: tuple[str, ...] | None = None

    @property
    def ranked_answers(self) -> list[str]:
        """Return the answers best first; empty unless the ranking names each of them once."""
        if self.ranking is None or sorted(self.ranking) != sorted(self.answers):
            return []
        return [self.answers[label] for label in self.ranking]


def read_blocks(message: str) -> list[Block]:
    """Return the question blocks with the code of the first delimiter; delimiters with another code are text."""
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
            blocks.append(Block(_conversation(text, first.group(1))))
        else:
            blocks[-1].answers[mark.group(2)] = text
    return blocks


def _conversation(question: str, code: str) -> str:
    """Return the question's text; the turns of a conversation as blocks ``role: text``.

    Delimiters with another code are text.
    """
    mark = re.compile(rf"\[\[turn \d+ (\S+) {re.escape(code)}\]\]")
    turns: list[str] = []
    lines = iter(question.split("\n"))
    for line in lines:
        opening = mark.fullmatch(line)
        if opening is None:
            return question
        turns.append(f"{opening.group(1)}: {_until(f'[[/{line[2:]}', lines)}")
    return "\n\n".join(turns)


def _until(closing: str, lines: Iterator[str]) -> str:
    """Return the lines up to the closing delimiter as text, whatever they contain."""
    text: list[str] = []
    for line in lines:
        if line == closing:
            break
        text.append(line)
    return "\n".join(text)


def _read_ranking(line: str, blocks: Sequence[Block]) -> None:
    """Set the last block's ranking from ``line``, if the line is a ranking and the block has none yet."""
    if not line.startswith("{") or blocks[-1].ranking is not None:
        return
    try:
        value = json.loads(line)
    except ValueError:
        return
    ranking = value.get("ranking") if isinstance(value, dict) else None
    if isinstance(ranking, list):
        blocks[-1].ranking = tuple(str(label) for label in ranking)
