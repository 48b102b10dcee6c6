"""The forms of a row: which columns hold the prompt, and which the ranked answers."""

from dataclasses import dataclass

from cyclealign.prompt_import import answers
from cyclealign.prompt_import.conversations import ROLES, are_turns, read_turns, to_answer
from cyclealign.prompt_import.rows import Row, RowRefused, kind_of, text_of
from cyclealign.records import Message, Messages, Prompt

# Columns that hold the prompt, the first that a row has.
PROMPTS = ("messages", "prompt", "conversations", "conversation", "instruction", "question")
SYSTEM = ("system", "system_prompt")
HH_RLHF = "HH-RLHF"
DIALOGUE_TEXT = "Texts of dialogues in 'prompt' ('Human: ...') read as one turn of the user; give turns as 'messages'"


@dataclass(frozen=True)
class ReadRow:
    """A prompt, and the answers to it, best first, if the row has a ranking of at least two."""

    prompt: Prompt
    answers: tuple[str, ...] = ()
    hh_rlhf: bool = False


def read_row(row: Row) -> ReadRow:
    """Return the prompt and the ranked answers of a row.

    Raises:
        RowRefused: the row has none of the known forms, or a part that cannot be used.
    """
    if answers.is_argilla(row):
        return _argilla(row)
    if answers.is_dialogue_pair(row):
        dialogues = answers.read_dialogues(row)
        return ReadRow(Prompt.of(to_answer(dialogues.before, row)), dialogues.answers, hh_rlhf=True)
    if "chosen" in row and "rejected" in row:
        return _with_pair(row)
    ranked = answers.ranked_columns(row)
    if ranked is not None:
        return _checked(Prompt.of(to_answer(_prompt_turns(row), row)), answers.read_ranked(row, ranked).answers)
    return ReadRow(Prompt.of(to_answer(_prompt_turns(row), row)))


def _argilla(row: Row) -> ReadRow:
    ranked = answers.read_argilla(row)
    fields = Row.of(row.take("fields"))
    return _checked(Prompt.of(to_answer(_prompt_turns(fields), row)), ranked.answers)


def _with_pair(row: Row) -> ReadRow:
    pair = answers.read_pair(row)
    known = any(name in row for name in ("prompt", "instruction", "question"))
    if not known and not pair.before:
        if isinstance(row.columns["chosen"], str) and not any(name in row for name in PROMPTS):
            answers.read_dialogues(row)  # raises: these are not dialogues
        return _checked(Prompt.of(to_answer(_prompt_turns(row), row)), pair.answers)
    asked = to_answer(_prompt_turns(row, before="prompt"), row) if known else ()
    row.take("messages")  # some data sets repeat the chosen conversation here
    return _checked(Prompt.of(to_answer(_joined(asked, pair.before), row)), pair.answers)


def _joined(asked: Messages, before: Messages) -> Messages:
    """Return the turns before the answers, where those of the answers repeat the prompt or go on from it."""
    if not before or not asked:
        return before or asked
    if before[0]["role"] in ("assistant", "tool"):
        return (*asked, *before)
    if _same(before[-len(asked) :], asked):
        return before
    raise RowRefused(
        "'prompt' differs from the turns of 'chosen' before its answer. Leave out 'prompt', or the turns before the "
        "answers."
    )


def _same(some: Messages, others: Messages) -> bool:
    def stripped(turns: Messages) -> list[tuple[str, str]]:
        return [(turn["role"], turn["content"].strip()) for turn in turns]

    return stripped(some) == stripped(others)


def _checked(prompt: Prompt, ranked: tuple[str, ...]) -> ReadRow:
    return ReadRow(prompt, ranked if len(ranked) > 1 else ())


def _prompt_turns(row: Row, before: str | None = None) -> Messages:
    """Return the turns of the row's prompt; ``before`` is a column that comes before those of conversations."""
    name = next((name for name in (before, *PROMPTS) if name is not None and name in row), None)
    if name is None:
        raise RowRefused(
            "expected a non-empty 'prompt', 'messages', 'conversations', 'instruction' or 'question', or 'chosen' and "
            f"'rejected' dialogues; found: {', '.join(map(str, row.columns)) or 'nothing'}. Another column is read "
            "with --column NAME."
        )
    value = row.take(name)
    if name in ("messages", "conversations", "conversation"):
        return (*_system(row, name), *read_turns(value, row, name))
    if name == "prompt":
        if isinstance(value, str) and answers.TURN.match(value):
            row.remark(DIALOGUE_TEXT)
        return read_turns(value, row, name) if are_turns(value) else (_user(value, name),)
    task = _user(value, name)
    extra = row.take("input") if name == "instruction" else None
    if extra is not None and text_of(extra, "input").strip():
        task["content"] += f"\n\n{extra.strip()}"
    return (*_system(row, name), task)


def _user(value: object, name: str) -> Message:
    if not isinstance(value, str) or not value.strip():
        found = "only blanks" if isinstance(value, str) else kind_of(value)
        raise RowRefused(f"expected a non-empty '{name}'; found {found}.")
    return Message(role="user", content=text_of(value, name).strip())


def _system(row: Row, name: str) -> Messages:
    """Return the system turn of a column beside the prompt (ShareGPT, OpenOrca), unless the turns have their own."""
    column = next((column for column in SYSTEM if column in row), None)
    if column is None or name == "messages":
        return ()
    words = text_of(row.take(column), column)
    turns = row.columns[name] if isinstance(row.columns[name], list) else []
    first = turns[0] if turns and isinstance(turns[0], dict) else {}
    own = ROLES.get(str(first.get("role", first.get("from"))).lower()) == "system"
    return (Message(role="system", content=words),) if words.strip() and not own else ()
