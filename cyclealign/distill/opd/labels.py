"""Token ids of prompts and given answers; the teacher's answers are sampled once and cached."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.distill.opd.data import Question, text_of
from cyclealign.distill.opd.predict import Generation, Row, sample
from cyclealign.errors import DistillError, PolicyError
from cyclealign.policy.chat_template import answer_ids, prompt_ids
from cyclealign.progress import OnProgress
from cyclealign.records import content_id, seed_from

PART = 64  # prompts of a part: one batch
PADDING = -1


def ids_of(
    questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase, form: str, max_tokens: int
) -> list[tuple[int, ...]]:
    """Return the token ids of each prompt, up to the start of the answer.

    Args:
        form: "chat" or "text"; see `DataSettings`.
        max_tokens: maximum length of a prompt.

    Raises:
        DistillError: the tokenizer has no chat template, or a prompt is empty or too long.
    """
    rows: list[tuple[int, ...]] = []
    for question in questions:
        try:
            ids = prompt_ids(tokenizer, question.messages) if form == "chat" else tokenizer(text_of(question)).input_ids
        except PolicyError as error:
            raise DistillError(f"{error} Without a template, set data.form to 'text'.") from error
        if not 0 < len(ids) <= max_tokens:
            raise DistillError(
                f"The prompt '{text_of(question)[:60]}' has {len(ids)} tokens; with sampling.max_new_tokens, 1 to "
                f"{max_tokens} fit into the models' context. Shorten or remove it, or lower sampling.max_new_tokens."
            )
        rows.append(tuple(ids))
    return rows


def given_rows(
    prompts: Sequence[tuple[int, ...]], questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase, longest: int
) -> list[Row]:
    """Return the rows of the answers that the data give, each with an end token, cut to ``longest`` tokens."""
    return [
        Row(prompt, tuple(answer_ids(tokenizer, question.answer or ""))[:longest])
        for prompt, question in zip(prompts, questions, strict=True)
    ]


def teacher_rows(
    folder: Path,
    teacher: Any,
    identity: str,
    prompts: Sequence[tuple[int, ...]],
    generation: Generation,
    seed: int,
    on_progress: OnProgress,
) -> list[Row]:
    """Return the rows of one answer of the teacher to each prompt; parts in ``folder`` are reused.

    Args:
        identity: hash of the teacher's files, or its id and commit.
    """
    made_of = {
        "teacher": identity,
        "prompts": content_id("opd prompts", [list(ids) for ids in prompts]),
        "temperature": generation.temperature,
        "max_new_tokens": generation.max_new_tokens,
        "seed": seed,
    }

    def make(part: range) -> Arrays:
        rows = sample(teacher, [prompts[number] for number in part], generation, seed_from(seed, part.start))
        answers = np.full((len(part), generation.max_new_tokens), PADDING, dtype=np.int64)
        for number, row in enumerate(rows):
            answers[number, : len(row.answer)] = row.answer
        return {"answers": answers}

    answers = cached_labels_in_parts(folder, made_of, parts_of(len(prompts), PART), make, on_progress)["answers"]
    return [
        Row(prompt, tuple(int(token) for token in answer if token != PADDING))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
