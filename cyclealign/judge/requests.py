"""The requests to the judge: labels, delimiters and orders are drawn from the round's seed.

So a resumed run asks the very same requests, and a stored reply serves; a request to put a reply right included.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import factorial

from cyclealign.judge.adversarial import sanitized
from cyclealign.judge.templates import LabelledAnswer, ShownDemonstration, rank_messages, repair_text
from cyclealign.records import CallPurpose, Demonstration, JudgeCall, Message, Template, seed_from

# Without look-alikes (0/O, 1/I, ...), so that a label survives being copied by a language model.
LETTERS, DIGITS = "ACDEFHKMNPRTWXY", "3479"


@dataclass(frozen=True)
class PromptSpec:
    """How a round asks its judge; fixed while the round runs. ``reasons``: ask for a reason for each place, too."""

    template: Template
    model: str
    parameters: tuple[tuple[str, float | int | str], ...]
    seed: int
    reasons: bool = False


@dataclass(frozen=True)
class RankingTask:
    """One list that is to be ranked: what was asked, its answers by item id, and what the judge is shown first."""

    manner: PromptSpec
    purpose: CallPurpose
    subject_id: str
    text: str
    answers: Mapping[str, str]
    demonstrations: Sequence[Demonstration] = ()

    def call(self, number: int, items: Collection[str] | None = None, repeat: int = 0) -> JudgeCall:
        """The ``number``-th request to rank these answers, or those among them whose ids are ``items``.

        A ``repeat`` shows the same order again, under other labels and another delimiter.
        """
        texts = {item: text for item, text in self.answers.items() if items is None or item in items}
        shown = self.demonstrations
        return rank_call(self.manner, self.purpose, self.subject_id, self.text, texts, shown, number, repeat)


def draw_labels(count: int, draw: random.Random) -> list[str]:
    """Different labels such as ``K7``, which say nothing about place or quality."""
    labels: list[str] = []
    while len(labels) < count:
        label = draw.choice(LETTERS) + draw.choice(LETTERS) + draw.choice(DIGITS)
        if label not in labels:
            labels.append(label)
    return labels


def draw_fence(texts: Sequence[str], draw: random.Random) -> str:
    """A delimiter code that occurs in none of the texts, so that no text can pose as a delimiter."""
    while True:
        fence = f"{draw.getrandbits(48):012x}"
        if not any(fence in text for text in texts):
            return fence


def order_shown(items: Sequence[str], number: int, seed: int) -> tuple[str, ...]:
    """The order in which ``items`` are shown the ``number``-th time: random, then its reverse, then random anew ...

    An order and its reverse cancel a preference for places to first order (Tang et al., arXiv 2310.07712). No pair of
    orders comes twice as long as there are others.
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
    manner: PromptSpec,
    purpose: CallPurpose,
    subject_id: str,
    question: str,
    texts: Mapping[str, str],
    demonstrations: Sequence[Demonstration],
    number: int,
    repeat: int = 0,
) -> JudgeCall:
    """The ``number``-th request to rank ``texts`` (item id -> answer text) as answers to ``question``.

    A ``repeat`` differs in labels and delimiter only: the very same request would be answered from memory.
    """
    texts, question = {item: sanitized(text) for item, text in texts.items()}, sanitized(question)
    seed = seed_from(manner.seed, purpose, subject_id, sorted(texts))
    draw = random.Random(seed_from(seed, "call", number, *[repeat] * bool(repeat)))
    order = order_shown(sorted(texts), number, seed)
    labels = draw_labels(len(order), draw)
    shown, demonstration_fence = show(demonstrations, manner.seed)
    messages = rank_messages(
        manner.template,
        question,
        [LabelledAnswer(label, texts[item]) for label, item in zip(labels, order, strict=True)],
        draw_fence([question, *texts.values()], draw),
        shown,
        demonstration_fence,
        manner.reasons,
    )
    return JudgeCall(
        purpose=purpose,
        subject_id=subject_id,
        model=manner.model,
        template_hash=manner.template.hash,
        messages=messages,
        shown=tuple(zip(labels, order, strict=True)),
        parameters=manner.parameters,
    )


def repair_call(template: Template, call: JudgeCall, problem: str) -> JudgeCall:
    """The same request with a word on why the reply to it could not be used.

    The reply itself is left out: what an answer made the judge say must not come back outside the delimiters.
    """
    *before, last = call.messages
    words = repair_text(template, problem, [label for label, _ in call.shown])
    return replace(call, messages=(*before, Message(role=last["role"], content=f"{last['content']}\n\n{words}")))


def show(demonstrations: Sequence[Demonstration], seed: int) -> tuple[list[ShownDemonstration], str]:
    """Demonstrations with labels and places shuffled, and their fence: the same all round, as a prompt cache wants."""
    demonstrations = [
        replace(each, question=sanitized(each.question), answers=tuple(map(sanitized, each.answers)))
        for each in demonstrations
    ]
    texts = [text for each in demonstrations for text in (each.question, *each.answers)]
    fence = draw_fence(texts, random.Random(seed_from(seed, "demonstrations")))
    return [_shown(each, random.Random(seed_from(seed, each.id))) for each in demonstrations], fence


def _shown(demonstration: Demonstration, draw: random.Random) -> ShownDemonstration:
    labels = draw_labels(len(demonstration.answers), draw)
    ranked = [LabelledAnswer(label, text) for label, text in zip(labels, demonstration.answers, strict=True)]
    placed = draw.sample(ranked, len(ranked))
    return ShownDemonstration(demonstration.question, tuple(placed), tuple(labels))
