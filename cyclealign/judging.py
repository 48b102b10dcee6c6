"""Candidates -> the judge's ranking. Questions are built from seeds, and replies read back by label.

What the judge sees is drawn from the round's seed: a resumed run asks the very same requests, so a stored reply serves.
No failed call and no unreadable reply ever becomes a ranking.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cyclealign import ranking
from cyclealign.asking import Asker, every
from cyclealign.errors import UnreadableReply
from cyclealign.prompting import LabelledAnswer, ShownDemonstration, rank_messages, read_ranking
from cyclealign.records import CallPurpose, Demonstration, JudgeCall, Ranking, Reply, Template, seed_from

# Without look-alikes (0/O, 1/I, ...), so that a label survives being copied by a language model.
LETTERS, DIGITS = "ACDEFHKMNPRTWXY", "3479"


@dataclass(frozen=True)
class Manner:
    """How a round asks its judge; fixed while the round runs."""

    template: Template
    model: str
    parameters: tuple[tuple[str, float | int | str], ...]
    seed: int


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
    """The order in which ``items`` are shown the ``number``-th time: random, then its reverse, then random anew.

    An order and its reverse cancel a preference for places to first order (Tang et al., arXiv 2310.07712).
    """
    shuffled = list(items)
    random.Random(seed_from(seed, "order", number - number % 2 if number < 2 else number)).shuffle(shuffled)
    return tuple(reversed(shuffled)) if number == 1 else tuple(shuffled)


def rank_call(
    manner: Manner,
    purpose: CallPurpose,
    subject_id: str,
    question: str,
    texts: Mapping[str, str],
    demonstrations: Sequence[Demonstration],
    number: int,
) -> JudgeCall:
    """The ``number``-th request to rank ``texts`` (item id -> answer text) as answers to ``question``."""
    seed = seed_from(manner.seed, purpose, subject_id, sorted(texts))
    draw = random.Random(seed_from(seed, "call", number))
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


def show(demonstrations: Sequence[Demonstration], seed: int) -> tuple[list[ShownDemonstration], str]:
    """Demonstrations with labels and places shuffled, and their fence: the same all round, as a prompt cache wants."""
    texts = [text for each in demonstrations for text in (each.question, *each.answers)]
    fence = draw_fence(texts, random.Random(seed_from(seed, "demonstrations")))
    return [_shown(each, random.Random(seed_from(seed, each.id))) for each in demonstrations], fence


def _shown(demonstration: Demonstration, draw: random.Random) -> ShownDemonstration:
    labels = draw_labels(len(demonstration.answers), draw)
    ranked = [LabelledAnswer(label, text) for label, text in zip(labels, demonstration.answers, strict=True)]
    placed = draw.sample(ranked, len(ranked))
    return ShownDemonstration(demonstration.question, tuple(placed), tuple(labels))


def verdict(call: JudgeCall, reply: Reply) -> tuple[str, ...]:
    """The item ids best first, matched by the labels that the judge was given.

    Raises:
        UnreadableReply: the reply is not a ranking of exactly those labels.
    """
    item_of = dict(call.shown)
    return tuple(item_of[label] for label in read_ranking(reply.text, list(item_of)))


async def verdicts_on(asker: Asker, calls: Sequence[JudgeCall]) -> list[tuple[str, ...]]:
    """Ask ``calls`` together; the rankings that could be read, in the order of the calls."""
    found = []
    for call, reply in zip(calls, await every(asker(call) for call in calls), strict=True):
        try:
            found.append(verdict(call, reply) if reply else ())
        except UnreadableReply:
            continue
    return [order for order in found if order]


def judged(prompt_id: str, verdicts: Sequence[Sequence[str]], asked: int) -> Ranking | None:
    """The consensus of the readable verdicts on one prompt; None where there is none: unjudged, never guessed.

    A verdict that is missing of those ``asked`` lowers the steadiness as if it had shown no agreement with the others.
    """
    if not verdicts:
        return None
    return Ranking(prompt_id, "judge", ranking.consensus(verdicts), ranking.steadiness(verdicts, asked=asked))
