"""Prompts to train and to evaluate on, from files and data sets, or of the demo."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cyclealign.distill.data.datasets import load_table
from cyclealign.distill.data.splits import require_disjoint
from cyclealign.distill.opd import demo_data
from cyclealign.distill.opd.config import DEMO, Config
from cyclealign.errors import DistillError
from cyclealign.files import json_lines
from cyclealign.records import Message, Messages, content_id

LINES = (".jsonl", ".json")


@dataclass(frozen=True)
class Question:
    """A prompt, and the answer that the data have for it; None if there is none."""

    messages: Messages
    answer: str | None = None

    @property
    def id(self) -> str:
        """Return the hash of the prompt."""
        return content_id("prompt", list(self.messages))


@dataclass(frozen=True)
class Questions:
    """Prompts of the training and of the evaluation; they share none."""

    training: tuple[Question, ...]
    evaluation: tuple[Question, ...]


def load(config: Config) -> Questions:
    """Load the prompts of the settings.

    Raises:
        DistillError: a source cannot be read, an answer is missing that the settings need, or a prompt is in both.
    """
    data, evaluation = config.data, config.evaluation
    if data.prompts == DEMO:
        training = tuple(map(question, demo_data.prompts("training")))
        tested = tuple(map(question, demo_data.prompts("evaluation")))
    else:
        training, tested = read(data.prompts), read(evaluation.prompts)
        require_disjoint("prompts", (data.prompts, map(text_of, training)), (evaluation.prompts, map(text_of, tested)))
    training, tested = training[: data.max_prompts], tested[: evaluation.max_prompts]
    if data.answers == "given" and config.needs_given_answers:
        require_answers(data.prompts, training, "Set data.answers to 'teacher'.")
    if any(each.answer is not None for each in tested):
        require_answers(evaluation.prompts, tested, "Give all rows an answer, or none.")
    return Questions(training, tested)


def question(text: str) -> Question:
    """Return the prompt of one user turn."""
    return Question((Message(role="user", content=text),))


def text_of(question: Question) -> str:
    """Return the turns of a prompt as one text."""
    return "\n\n".join(turn["content"] for turn in question.messages)


def require_answers(source: str, questions: Sequence[Question], advice: str) -> None:
    """Raise DistillError if a prompt has no answer."""
    missing = next((each for each in questions if each.answer is None), None)
    if missing:
        raise DistillError(f"{source}: no answer to the prompt '{text_of(missing)[:60]}'. {advice}")


def read(source: str) -> tuple[Question, ...]:
    """Read the prompts of a file or data set; equal ones once.

    Raises:
        DistillError: a row is wrong, or there is none; the message names file and line, or data set and row.
    """
    questions: dict[str, Question] = {}
    for where, row in rows_of(source):
        read_question = Question(messages_of(row, where), answer_of(row, where))
        questions.setdefault(read_question.id, read_question)
    if not questions:
        raise DistillError(f"{source}: it holds no prompts.")
    return tuple(questions.values())


def rows_of(source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the location and the values of each row."""
    if Path(source).suffix in LINES:
        for where, row in json_lines(Path(source), DistillError):
            if not isinstance(row, dict):
                raise DistillError(f'{where}: expected an object such as {{"prompt": "Hello!"}}.')
            yield where, row
        return
    table = load_table(source)
    if "prompt" not in table.column_names:
        raise DistillError(f"{source}: no column 'prompt'; it has {table.column_names}. Rename the prompts' column.")
    for number, row in enumerate(table, 1):
        yield f"{source}, row {number}", row


def messages_of(row: Mapping[str, Any], where: str) -> Messages:
    """Return the turns of a row's prompt; raise DistillError if it is wrong."""
    prompt = row.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return (Message(role="user", content=prompt),)
    if isinstance(prompt, list) and prompt and all(is_turn(turn) for turn in prompt):
        return tuple(cast(Message, {"role": turn["role"], "content": turn["content"]}) for turn in prompt)
    raise DistillError(f'{where}: "prompt" must be a text, or a list of turns with "role" and "content".')


def is_turn(value: Any) -> bool:
    """Return whether a value is a turn of a conversation."""
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def answer_of(row: Mapping[str, Any], where: str) -> str | None:
    """Return the answer of a row; raise DistillError if it is something else than a text."""
    answer = row.get("answer")
    if answer is not None and not (isinstance(answer, str) and answer.strip()):
        raise DistillError(f'{where}: "answer" must be a text, not empty.')
    return answer
