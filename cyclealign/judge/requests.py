"""Requests to the judge: labels, delimiters and orders are drawn from the round's seed.

A resumed run therefore sends identical requests, repair requests included, and finds their replies stored.
"""

import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import factorial

from cyclealign.judge.adversarial import sanitized
from cyclealign.judge.templates import (
    LabelledAnswer,
    ShownDemonstration,
    ShownQuestion,
    ShownTurn,
    rank_messages,
    repair_text,
)
from cyclealign.records import CallPurpose, Demonstration, JudgeCall, Message, Messages, Template, seed_from, turn_text

MAX_ROLE_CHARACTERS = 20
# Without look-alikes (0/O, 1/I, ...), so that language models copy labels correctly.
LETTERS, DIGITS = "ACDEFHKMNPRTWXY", "3479"


@dataclass(frozen=True)
class PromptSpec:
    """The fixed part of a round's requests: template, model, parameters and seed. ``reasons``: request reasons, too."""

    template: Template
    model: str
    parameters: tuple[tuple[str, float | int | str], ...]
    seed: int
    reasons: bool = False


@dataclass(frozen=True)
class RankingTask:
    """One list to rank: the prompt's text, its answers by item id, and the demonstrations to show.

    ``turns`` are those of a conversation, none for a prompt of a single turn.
    """

    spec: PromptSpec
    purpose: CallPurpose
    subject_id: str
    text: str
    answers: Mapping[str, str]
    demonstrations: Sequence[Demonstration] = ()
    turns: Messages = ()

    def call(self, number: int, items: Collection[str] | None = None, repeat: int = 0) -> JudgeCall:
        """Return the ``number``-th request to rank these answers, or only those with ids in ``items``.

        A ``repeat`` shows the same order again, with other labels and another delimiter.
        """
        texts = {item: text for item, text in self.answers.items() if items is None or item in items}
        shown = self.demonstrations
        return rank_call(self.spec, self.purpose, self.subject_id, self.text, texts, shown, number, repeat, self.turns)


def draw_labels(count: int, draw: random.Random) -> list[str]:
    """Draw distinct labels such as ``AC7``, which carry no information about position or quality."""
    labels: list[str] = []
    while len(labels) < count:
        label = draw.choice(LETTERS) + draw.choice(LETTERS) + draw.choice(DIGITS)
        if label not in labels:
            labels.append(label)
    return labels


def draw_fence(texts: Sequence[str], draw: random.Random) -> str:
    """Draw a delimiter code that occurs in none of the texts, so that no text can imitate a delimiter."""
    while True:
        fence = f"{draw.getrandbits(48):012x}"
        if not any(fence in text for text in texts):
            return fence


def order_shown(items: Sequence[str], number: int, seed: int) -> tuple[str, ...]:
    """Return the order in which ``items`` are shown the ``number``-th time: random, its reverse, random again ...

    An order and its reverse cancel position bias to first order (Tang et al., arXiv 2310.07712). No pair of orders
    repeats while unused ones are left.
    """
    seen: list[tuple[str, ...]] = []
    for pair in range(number // 2 + 1):
        draw = random.Random(seed_from(seed, "order", 2 * pair))
        order = tuple(draw.sample(items, len(items)))
        while order in seen and len(seen) < factorial(len(items)):
            order = tuple(draw.sample(items, len(items)))
        seen += [order, order[::-1]]
    return seen[number]


def rank_call(
    spec: PromptSpec,
    purpose: CallPurpose,
    subject_id: str,
    question: str,
    texts: Mapping[str, str],
    demonstrations: Sequence[Demonstration],
    number: int,
    repeat: int = 0,
    turns: Messages = (),
) -> JudgeCall:
    """Return the ``number``-th request to rank ``texts`` (item id -> answer text) as answers to ``question``.

    A ``repeat`` differs in labels and delimiter only: an identical request would be answered from the store. The
    ``turns`` of a conversation are shown between delimiters of their own, so that no turn can imitate another.
    """
    texts = {item: sanitized(text) for item, text in texts.items()}
    asked = shown_question(question, turns)
    seed = seed_from(spec.seed, purpose, subject_id, sorted(texts))
    # Without a repeat nothing is appended, so that requests keep the seeds they had before repeats existed.
    draw = random.Random(seed_from(seed, "call", number, *[repeat] * bool(repeat)))
    order = order_shown(sorted(texts), number, seed)
    labels = draw_labels(len(order), draw)
    shown, demonstration_fence = shuffle_demonstrations(demonstrations, spec.seed)
    messages = rank_messages(
        spec.template,
        asked,
        [LabelledAnswer(label, texts[item]) for label, item in zip(labels, order, strict=True)],
        draw_fence([*asked.texts, *texts.values()], draw),
        shown,
        demonstration_fence,
        spec.reasons,
    )
    return JudgeCall(
        purpose=purpose,
        subject_id=subject_id,
        model=spec.model,
        template_hash=spec.template.hash,
        messages=messages,
        shown=tuple(zip(labels, order, strict=True)),
        parameters=spec.parameters,
    )


def shown_question(text: str, turns: Messages) -> ShownQuestion:
    """Return a prompt as shown to the judge: its text, and the turns of a conversation with their roles."""
    rows = [ShownTurn(number, _role(turn), sanitized(turn_text(turn))) for number, turn in enumerate(turns, 1)]
    return ShownQuestion(sanitized(text), tuple(rows))


def _role(turn: Message) -> str:
    """Return the turn's role as one word: it stands inside a mark, and data sets may hold any text there."""
    return re.sub(r"\W+", "-", sanitized(turn["role"]))[:MAX_ROLE_CHARACTERS].strip("-") or "unnamed"


def repair_call(template: Template, call: JudgeCall, problem: str) -> JudgeCall:
    """Return the same request with a note on why its reply could not be parsed.

    The reply is not quoted: text that an answer made the judge repeat must not return outside the delimiters.
    """
    *before, last = call.messages
    note = repair_text(template, problem, [label for label, _ in call.shown])
    return replace(call, messages=(*before, Message(role=last["role"], content=f"{last['content']}\n\n{note}")))


def shuffle_demonstrations(demonstrations: Sequence[Demonstration], seed: int) -> tuple[list[ShownDemonstration], str]:
    """Return the demonstrations with shuffled answers and labels, and their delimiter code.

    Both are the same for a whole round, so that a provider's prompt cache can serve them.
    """
    demonstrations = [replace(shown, answers=tuple(map(sanitized, shown.answers))) for shown in demonstrations]
    questions = [shown_question(shown.question, shown.turns) for shown in demonstrations]
    texts = [text for shown in demonstrations for text in shown.answers]
    texts += [text for question in questions for text in question.texts]
    fence = draw_fence(texts, random.Random(seed_from(seed, "demonstrations")))
    shuffled = [
        _shuffled(shown, question.marked(fence), random.Random(seed_from(seed, shown.id)))
        for shown, question in zip(demonstrations, questions, strict=True)
    ]
    return shuffled, fence


def _shuffled(demonstration: Demonstration, question: ShownQuestion, draw: random.Random) -> ShownDemonstration:
    labels = draw_labels(len(demonstration.answers), draw)
    ranked = [LabelledAnswer(label, text) for label, text in zip(labels, demonstration.answers, strict=True)]
    placed = draw.sample(ranked, len(ranked))
    return ShownDemonstration(question.text, tuple(placed), tuple(labels), question.turns)
