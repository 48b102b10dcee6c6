"""The judges of a chosen accuracy that the benchmark of the cycle uses."""

import json
import random
from itertools import combinations
from statistics import fmean

from benchmarks.gold_judge import gold_judge
from cyclealign.demo.judge.model import Behaviour
from cyclealign.demo.world.dataset import labelled_lists

LABELS = "ABCD"


def accuracy(noise: float, length_bias: float = 0.0) -> float:
    """Return the share of pairs of labelled lists that the judge orders as gold quality does."""
    right = []
    for number, labelled in enumerate(labelled_lists(20, 4, seed=1)):
        shown = random.Random(number).sample(labelled.answers, len(labelled.answers))
        verdict = gold_judge(noise, length_bias)([request(labelled.prompt.messages[-1]["content"], shown)], Behaviour())
        places = [shown[LABELS.index(label)] for label in verdict.ranking]
        right += [places.index(a) < places.index(b) for a, b in combinations(labelled.answers, 2)]
    return fmean(right)


def request(question: str, answers: list[str]) -> str:
    """Return a request as the judge's template delimits it."""
    blocks = [f"[[question 7]]\n{question}\n[[/question 7]]"]
    blocks += [
        f"[[answer {label} 7]]\n{text}\n[[/answer {label} 7]]" for label, text in zip(LABELS, answers, strict=True)
    ]
    return "\n".join(blocks)


def test_its_accuracy_follows_the_noise():
    """Prevents arms that are called after an accuracy which their judge does not have."""
    by_noise = [accuracy(noise) for noise in (0.0, 0.22, 2.5)]
    assert by_noise[0] == 1.0
    assert by_noise[0] > by_noise[1] > by_noise[2]


def test_asking_again_does_not_make_it_more_accurate():
    """Prevents errors that average out over several orders, as those of a real judge do not."""
    labelled = labelled_lists(1, 4, seed=2)[0]
    question, answers = labelled.prompt.messages[-1]["content"], list(labelled.answers)
    one = gold_judge(2.5)([request(question, answers)], Behaviour())
    other = gold_judge(2.5)([request(question, answers[::-1])], Behaviour())
    swapped = tuple(dict(zip(LABELS, LABELS[::-1], strict=True))[label] for label in other.ranking)
    assert one.ranking == swapped


def test_a_request_without_answers_is_no_ranking():
    """Prevents a crash of the server at the request that looks whether a judge replies."""
    verdict = gold_judge(0.2)(["Hello."], Behaviour())
    assert verdict.ranking == ()
    assert not verdict.text.startswith(json.dumps({"ranking": []})[:5])
