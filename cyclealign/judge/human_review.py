"""Human review: choose uncertain lists, show them to reviewers, and parse the order that a reviewer enters.

Pure functions. Reviewers see neither the judge's nor the policy's order, so neither can bias them.
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
from cyclealign.records import (
    Agreement,
    Demonstration,
    Doubt,
    LabelledList,
    Metric,
    Prompt,
    Ranking,
    Review,
    seed_from,
    turn_text,
)
from cyclealign.text import plain_text

PAGE_COLUMNS = 46  # width of the form of a paused run in Prefect's UI


def uncertainty(tau: float, steadiness: float) -> float:
    """Return the uncertainty of a list, in [0, 1]: (1 - tau) / 2 x (1 - steadiness).

    The first factor is the share of pairs on which policy and judge differ, the second the disagreement among the
    judge's own verdicts. It is 0 if the judge is consistent, since the judge is then followed whatever the policy
    ranks, and if policy and judge agree.
    """
    return (1 - tau) / 2 * (1 - steadiness)


def most_uncertain(agreements: Iterable[Agreement], verdicts: Mapping[str, Ranking], count: int) -> list[Doubt]:
    """Return the ``count`` most uncertain lists, the most uncertain first; lists without uncertainty are left out."""
    tau = {row.prompt_id: row.tau for row in agreements}
    value = {prompt_id: uncertainty(tau[prompt_id], verdicts[prompt_id].steadiness) for prompt_id in tau}
    uncertain = (prompt_id for prompt_id in value if value[prompt_id] > 0)
    chosen = sorted(uncertain, key=lambda prompt_id: (-value[prompt_id], prompt_id))[:count]
    return [
        Doubt(
            prompt_id,
            f"uncertainty {value[prompt_id]:.2f}: tau of policy and judge {tau[prompt_id]:.2f}, "
            f"judge's steadiness {verdicts[prompt_id].steadiness:.2f}",
        )
        for prompt_id in chosen
    ]


def letters_of(review: Review) -> dict[str, str]:
    """Return letter -> candidate id in the order shown to the reviewer: shuffled, the same each time."""
    ids = sorted(review.answers)
    random.Random(seed_from("review", review.round_id, review.prompt.id)).shuffle(ids)
    return dict(zip(ascii_uppercase, ids, strict=False))


def parse_order(text: str, letters: Mapping[str, str]) -> tuple[str, ...]:
    """Parse a reviewer's order, such as ``B A C``, ``b,a,c`` or ``BAC``, to candidate ids, best first.

    Raises:
        BadOrder: the text does not name each letter once; the message names the problem.
    """
    if re.search(r"[^\sA-Za-z,;>.]", text):
        raise BadOrder("Enter only the letters of the answers, best first; ties are not supported.")
    counts = Counter(re.sub(r"[^A-Z]", "", text.upper()))
    wrong = {
        "no such answer": [letter for letter in counts if letter not in letters],
        "more than once": [letter for letter in counts if counts[letter] > 1 and letter in letters],
        "left out": [letter for letter in letters if letter not in counts],
    }
    problems = [f"{problem}: {', '.join(which)}" for problem, which in wrong.items() if which]
    if problems:
        raise BadOrder(f"Enter each answer once, best first ({'; '.join(problems)}).")
    return tuple(letters[letter] for letter in counts)


def format_order(order: Sequence[str], letters: Mapping[str, str]) -> str:
    """Return an order of candidate ids as letters; ids that were not shown are left out."""
    letter_of = {candidate: letter for letter, candidate in letters.items()}
    return " ".join(letter_of[candidate] for candidate in order if candidate in letter_of)


def code_block(text: str) -> str:
    """Return a model's text as a Markdown code block that the text cannot close.

    Long lines are wrapped, since pages do not wrap lines in code blocks.
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [part for line in plain_text(text).split("\n") for part in _wrapped(line)]
    return "\n".join([f"{fence}text", *lines, fence])


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, PAGE_COLUMNS, replace_whitespace=False, drop_whitespace=False) or [""]


def review_page(reviews: Sequence[Review], problems: Mapping[str, str]) -> str:
    """Return the lists in Markdown, numbered from 1; ``problems`` maps prompt ids to the problem with their order."""
    parts = []
    for number, review in enumerate(reviews, 1):
        parts.append(f"## List {number}")
        if review.prompt.id in problems:
            parts.append(f"**Your order was not accepted.** {problems[review.prompt.id]}")
        parts += _asked(review.prompt)
        for letter, candidate in letters_of(review).items():
            parts += [f"**{letter}**", code_block(review.answers[candidate])]
    return "\n\n".join(parts)


def _asked(prompt: Prompt) -> list[str]:
    """Return the prompt in Markdown: a block, or one for each turn of a conversation, which cannot pass for another."""
    if not prompt.turns:
        return [code_block(prompt.text)]
    parts = []
    for number, turn in enumerate(prompt.turns, 1):
        role = re.sub(r"[^\w-]+", " ", turn["role"])[:20]
        parts += [f"*Turn {number}, {role}*", code_block(turn_text(turn))]
    return parts


def human_agreement(prompts: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """Return the share of pairs that judge and policy order as reviewers did, on a round's reviewed lists.

    The intervals are over lists. Reviewed lists are the uncertain ones, so the judge does better on the others.

    Args:
        prompts: those of the round's detail in the history.
    """
    ranked = [prompt for prompt in prompts if prompt["review"] and prompt["review"]["verdict"]]
    shares = {
        by: [metrics.pair_accuracy(prompt["rankings"][by]["order"], prompt["review"]["verdict"]) for prompt in ranked]
        for by in ("judge", "policy")
    }
    return [with_interval(f"{by}_against_people", values) for by, values in shares.items() if values]


def review_summary(review: Mapping[str, Any], rank: Mapping[str, int]) -> str:
    """Return a review's outcome as text; answers are named by ``rank``, their place in the judge's order."""
    if review["verdict"] is None:
        return f"sent to reviewers: {review['status']} ({review['why']})"
    order = " ".join(str(rank[candidate]) for candidate in review["verdict"])
    used = "used in training" if review["learnt"] else "not used in training"
    return f"a reviewer ranked: {order} ({used}; {review['why']})"


def new_lists(lists: Sequence[LabelledList], demonstrations: Sequence[Demonstration]) -> list[LabelledList]:
    """Return the lists whose question no demonstration has yet; the first of several with the same question."""
    questions = {shown.question for shown in demonstrations}
    new: list[LabelledList] = []
    for labelled in lists:
        if labelled.prompt.text not in questions:
            questions.add(labelled.prompt.text)
            new.append(labelled)
    return new
