"""Lists that are worth a person's time: which they are, how they are shown, and what a person's order means.

Pure functions. The orders of judge and policy are no part of what is shown, so that nobody is led by them.
"""

import random
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from cyclealign.errors import BadOrder
from cyclealign.evaluation import metrics
from cyclealign.evaluation.intervals import with_interval
from cyclealign.records import Agreement, Demonstration, Doubt, LabelledList, Metric, Ranking, Review, seed_from
from cyclealign.text import plain_text

PAGE_COLUMNS = 46  # what the form of a paused run shows of a line in Prefect's UI


def doubt(tau: float, steadiness: float) -> float:
    """How doubtful a list is, in [0, 1]: (1 - tau) / 2 x (1 - steadiness).

    The first factor is the share of pairs on which policy and judge differ, the second how little the judge's verdicts
    agree with one another. It is 0 where either trusts the order: a steady judge is the teacher, whatever the policy
    holds, and an order that policy and judge share needs no third opinion.
    """
    return (1 - tau) / 2 * (1 - steadiness)


def most_doubtful(agreements: Iterable[Agreement], verdicts: Mapping[str, Ranking], count: int) -> list[Doubt]:
    """The ``count`` most doubtful lists, the most doubtful first; fewer where the others raise no doubt at all."""
    doubts = {row.prompt_id: doubt(row.tau, verdicts[row.prompt_id].steadiness) for row in agreements}
    tau = {row.prompt_id: row.tau for row in agreements}
    chosen = sorted((each for each in doubts if doubts[each] > 0), key=lambda each: (-doubts[each], each))[:count]
    return [
        Doubt(
            each,
            f"doubt {doubts[each]:.2f}: tau of policy and judge {tau[each]:.2f}, "
            f"judge's steadiness {verdicts[each].steadiness:.2f}",
        )
        for each in chosen
    ]


def lettered(review: Review) -> dict[str, str]:
    """Letter -> candidate id, in the order in which a person is shown the answers: shuffled, the same at each look."""
    ids = sorted(review.answers)
    random.Random(seed_from("review", review.round_id, review.prompt.id)).shuffle(ids)
    return dict(zip(ascii_uppercase, ids, strict=False))


def order_of(text: str, letters: Mapping[str, str]) -> tuple[str, ...]:
    """What a person typed, such as ``B A C``, ``b,a,c`` or ``BAC``, as candidate ids, best first.

    Raises:
        BadOrder: it does not hold each letter once; the message says what is wrong.
    """
    if re.search(r"[^\sA-Za-z,;>.]", text):
        raise BadOrder("Only the letters of the answers, best first: ties cannot be given.")
    given = Counter(re.sub(r"[^A-Z]", "", text.upper()))
    wrong = {
        "no such answer": [each for each in given if each not in letters],
        "more than once": [each for each in given if given[each] > 1 and each in letters],
        "left out": [each for each in letters if each not in given],
    }
    problems = [f"{what}: {', '.join(found)}" for what, found in wrong.items() if found]
    if problems:
        raise BadOrder(f"Each answer once, best first ({'; '.join(problems)}).")
    return tuple(letters[each] for each in given)


def in_letters(order: Sequence[str], letters: Mapping[str, str]) -> str:
    """An order of candidate ids as a person reads it; ids that were not shown are left out."""
    letter_of = {candidate: letter for letter, candidate in letters.items()}
    return " ".join(letter_of[each] for each in order if each in letter_of)


def fenced(text: str) -> str:
    """Text that a model wrote, as a block of Markdown that it cannot close, and in which nothing is markup.

    Long lines are broken: in such a block the page itself breaks none.
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [part for line in plain_text(text).split("\n") for part in _broken(line)]
    return "\n".join([f"{fence}text", *lines, fence])


def _broken(line: str) -> list[str]:
    return textwrap.wrap(line, PAGE_COLUMNS, replace_whitespace=False, drop_whitespace=False) or [""]


def as_page(reviews: Sequence[Review], problems: Mapping[str, str]) -> str:
    """The lists in Markdown, numbered from 1; ``problems`` says by prompt id why an order was not taken."""
    parts = []
    for number, review in enumerate(reviews, 1):
        parts.append(f"## List {number}")
        if review.prompt.id in problems:
            parts.append(f"**Your order was not taken.** {problems[review.prompt.id]}")
        parts.append(fenced(review.prompt.text))
        for letter, candidate in lettered(review).items():
            parts += [f"**{letter}**", fenced(review.answers[candidate])]
    return "\n\n".join(parts)


def against_people(prompts: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """How far judge and policy order pairs as people did, on the lists of a round that people ranked.

    ``prompts`` are those of the history's detail. The intervals are over lists. The lists are the doubtful ones, so
    the judge does better on the others.
    """
    ranked = [each for each in prompts if each["review"] and each["review"]["verdict"]]
    shares = {
        by: [metrics.pair_accuracy(each["rankings"][by]["order"], each["review"]["verdict"]) for each in ranked]
        for by in ("judge", "policy")
    }
    return [with_interval(f"{by}_against_people", found) for by, found in shares.items() if found]


def said_of(review: Mapping[str, Any], place: Mapping[str, int]) -> str:
    """What became of a list that people were asked to rank, by the numbers that the judge's order gives the answers."""
    if review["verdict"] is None:
        return f"people were asked to rank this: {review['status']} ({review['why']})"
    order = " ".join(str(place[each]) for each in review["verdict"])
    return f"a person ranked: {order} ({'learnt' if review['learnt'] else 'not learnt'}; {review['why']})"


def not_yet_written(lists: Sequence[LabelledList], written: Sequence[Demonstration]) -> list[LabelledList]:
    """The lists whose question is not that of a written demonstration; of several with the same question the first."""
    questions = {each.question for each in written}
    new: list[LabelledList] = []
    for each in lists:
        if each.prompt.text not in questions:
            questions.add(each.prompt.text)
            new.append(each)
    return new
