"""Ranked answers of a row: pairs, HH-RLHF's dialogues, answers with ranks or scores, Argilla's records."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cyclealign.prompt_import.conversations import are_turns, read_turns
from cyclealign.prompt_import.rows import Row, RowRefused, kind_of, text_of
from cyclealign.records import Message, Messages

ANSWERS = ("responses", "completions", "answers", "candidates")
RANKS = ("ranks", "rank")  # the smallest is the best
SCORES = ("scores", "score", "ratings", "rating", "overall_score")  # the largest is the best
TEXTS = ("response", "completion", "answer", "output", "text", "content")
DIFFERENT = "Pairs left out of the labelled lists ('chosen' and 'rejected' differ before the last answer)"
EQUAL = "Pairs left out of the labelled lists (equal answers)"
EMPTY = "Pairs left out of the labelled lists (an empty answer)"
TIED = "Answers left out of labelled lists (tied with, or equal to, another one)"
UNSCORED = "Answers left out of labelled lists (no rank or score, or no text)"
TURN = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True)
class Answered:
    """The turns before the answers, as the columns of answers have them (maybe none), and the answers, best first."""

    before: Messages
    answers: tuple[str, ...]


def is_dialogue_pair(row: Row) -> bool:
    """Return whether both answers are HH-RLHF's whole dialogues."""
    texts = [row.columns.get("chosen"), row.columns.get("rejected")]
    starts = [TURN.split(text, maxsplit=1) for text in texts if isinstance(text, str)]
    return len(starts) == 2 and all(len(pieces) > 1 and not pieces[0].strip() for pieces in starts)


def read_dialogues(row: Row) -> Answered:
    """Return HH-RLHF's conversation before the last answer, and the two answers in the human's order."""
    before, best = _dialogue(text_of(row.take("chosen"), "chosen"))
    other_before, worst = _dialogue(text_of(row.take("rejected"), "rejected"))
    if not best or not worst:
        row.remark(EMPTY)
        return Answered(before, ())
    return Answered(before, _pair(row, best, worst, before == other_before))


def read_pair(row: Row) -> Answered:
    """Return the answers of ``chosen`` and ``rejected``: texts, or turns with or without those of the prompt.

    Raises:
        RowRefused: an answer cannot be used.
    """
    chosen, rejected = row.take("chosen"), row.take("rejected")
    in_turns = are_turns(chosen), are_turns(rejected)
    if isinstance(chosen, str) and isinstance(rejected, str) and not any(in_turns):
        best, worst = text_of(chosen, "chosen"), text_of(rejected, "rejected")
        return Answered((), _pair(row, best, worst, same_prompt=True))
    if not all(in_turns):
        raise RowRefused(
            f"'chosen' and 'rejected' must both be texts or both be lists of turns; found {kind_of(chosen)} and "
            f"{kind_of(rejected)}."
        )
    before, best = _split_answer(read_turns(chosen, row, "chosen"), "chosen")
    other_before, worst = _split_answer(read_turns(rejected, row, "rejected"), "rejected")
    return Answered(before, _pair(row, best, worst, before == other_before))


def ranked_columns(row: Row) -> str | None:
    """Return the column of answers that have ranks or scores, None if there is none."""
    for name in ANSWERS:
        answers = row.columns.get(name)
        if isinstance(answers, list) and answers:
            inside = isinstance(answers[0], dict) and bool({*RANKS, *SCORES} & set(answers[0]))
            if inside or any(isinstance(row.columns.get(column), list) for column in (*RANKS, *SCORES)):
                return name
    return None


def read_ranked(row: Row, name: str) -> Answered:
    """Return the answers of a column, best first by their ranks, else by their scores.

    Of tied answers the first is kept, since a labelled list has no ties.

    Raises:
        RowRefused: an answer, a rank or a score cannot be used.
    """
    given = row.take(name)
    texts = [_answer_text(answer, row, name) for answer in given]
    values = _order_values(row, given, name)
    pairs = zip(values, texts, strict=True)
    usable = [(value, text) for value, text in pairs if value is not None and text is not None]
    for _ in range(len(texts) - len(usable)):
        row.remark(UNSCORED)
    kept: dict[str, float] = {}
    last = math.nan
    for value, text in sorted(usable, key=lambda pair: pair[0]):
        if value == last or text in kept:
            row.remark(TIED)
        else:
            kept[text] = last = value
    return Answered((), tuple(kept))


def is_argilla(row: Row) -> bool:
    """Return whether the row is a record of Argilla: fields, with responses or suggestions to questions."""
    answered = row.columns.get("responses"), row.columns.get("suggestions")
    return isinstance(row.columns.get("fields"), dict) and any(isinstance(part, dict) for part in answered)


def read_argilla(row: Row) -> Answered:
    """Return the fields that a person ranked, best first; without a person's ranking, those that were suggested."""
    fields, suggestions, responses = row.take("fields"), row.take("suggestions") or {}, row.take("responses") or {}
    people = [answer for answers in responses.values() if isinstance(answers, list) for answer in answers]
    for answer in [*people, *suggestions.values()]:
        ranked = answer.get("value") if isinstance(answer, dict) else None
        parts = ranked if isinstance(ranked, list) else []
        names = [str(part.get("value") if isinstance(part, dict) else part) for part in parts]
        if len(names) > 1 and all(name in fields for name in names):
            texts = [text_of(fields[name], name) for name in names]
            return Answered((), tuple(dict.fromkeys(texts)))
    return Answered((), ())


def _pair(row: Row, best: str, worst: str, same_prompt: bool) -> tuple[str, ...]:
    if best == worst:
        row.remark(EQUAL)
        return ()
    if not same_prompt:
        row.remark(DIFFERENT)
        return ()
    return (best, worst)


def _split_answer(turns: Messages, name: str) -> tuple[Messages, str]:
    if turns[-1]["role"] != "assistant":
        raise RowRefused(f"'{name}' must end with a turn of the assistant: the answer.")
    return turns[:-1], turns[-1]["content"]


def _answer_text(answer: Any, row: Row, name: str) -> str | None:
    if isinstance(answer, dict) and "role" not in answer:
        answer = next((answer[key] for key in TEXTS if answer.get(key) is not None), None)
    if isinstance(answer, dict):
        answer = [answer]
    if isinstance(answer, list):
        before, text = _split_answer(read_turns(answer, row, name), name)
        if before:
            raise RowRefused(f"each of '{name}' must be one answer of the assistant; found several turns.")
        return text
    return None if answer is None else text_of(answer, name)


def _order_values(row: Row, answers: Sequence[Any], name: str) -> list[float | None]:
    """Return a value per answer, the smallest for the best; None for an answer that was not ranked."""
    for columns, sign in ((RANKS, 1.0), (SCORES, -1.0)):
        for column in columns:
            if isinstance(row.columns.get(column), list):
                values = row.take(column)
            elif isinstance(answers[0], dict) and column in answers[0]:
                values = [answer.get(column) if isinstance(answer, dict) else None for answer in answers]
            else:
                continue
            if len(values) != len(answers):
                raise RowRefused(f"'{column}' has {len(values)} values for the {len(answers)} answers of '{name}'.")
            return [None if value is None else sign * _number(value, column) for value in values]
    raise RowRefused(f"the answers of '{name}' have no ranks and no scores.")


def _number(value: Any, column: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowRefused(f"'{column}' must hold finite numbers; found {kind_of(value)}.")
    return float(value)


def _dialogue(text: str) -> tuple[Messages, str]:
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
        raise RowRefused(
            "a dialogue must read '\\n\\nHuman: ...\\n\\nAssistant: ...' and end with the assistant; for other texts, "
            "give the question as 'prompt' beside 'chosen' and 'rejected'."
        )
    return tuple(turns[:-1]), turns[-1]["content"]
