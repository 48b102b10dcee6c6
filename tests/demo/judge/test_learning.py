"""The simulated judge learns in context, from nothing but the request."""

import subprocess
import sys
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest

from cyclealign.demo.judge import learning
from cyclealign.demo.judge.features import NAMES, features
from cyclealign.demo.judge.model import Behaviour, judge
from cyclealign.demo.world import dataset
from cyclealign.demo.world.gold import find_topic
from cyclealign.evaluation.metrics import labelled_ids, labelled_texts, pair_accuracy
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.judge.templates import load_demonstrations, load_template
from cyclealign.judge.verdicts import parse_verdict
from cyclealign.records import Demonstration, Reply
from tests.support.paths import PROMPTS

STATIC = load_demonstrations(PROMPTS / "demonstrations.jsonl")
EXAM = dataset.labelled_lists(80, 4, seed=1)


def taught(count, seed):
    """Demonstrations in gold order, on labelled prompts that are not in the exam."""
    known = {each.prompt.id for each in EXAM}
    lists = [each for each in dataset.labelled_lists(200, 4, seed) if each.prompt.id not in known]
    return [Demonstration.of(each.prompt.text, each.answers, "dynamic") for each in lists[:count]]


def reply(labelled, demonstrations, spec):
    """The judge's call and reply for one labelled list, over the very messages that an LLM would get."""
    asking = PromptSpec(load_template(PROMPTS, "rank"), "simulated-judge", (), seed=3)
    texts = labelled_texts(labelled)
    call = rank_call(asking, "accuracy", labelled.id, labelled.prompt.text, texts, demonstrations, 0)
    return call, judge([message["content"] for message in call.messages], spec).text


def accuracy(demonstrations):
    scores = []
    for labelled in EXAM:
        call, text = reply(labelled, demonstrations, Behaviour())
        order = tuple(item for (item,) in parse_verdict(call, Reply(text, "simulated-judge", 0, 0, 0.0, 0.0)))
        scores.append(pair_accuracy(order, labelled_ids(labelled)))
    return fmean(scores)


def noiseless_accuracy(demonstrations):
    """The same without whims and without rendering, so that many draws can be averaged."""
    weights = learning.learn([(each.question, each.answers) for each in demonstrations])
    scores = []
    for labelled in EXAM:
        worth = learning.scores(weights, labelled.prompt.text, labelled.answers)
        scores.append(fmean(worth[better] > worth[worse] for better, worse in combinations(range(4), 2)))
    return fmean(scores)


def test_accuracy_rises_with_the_written_demonstrations():
    """Prevents a judge whose demonstrations are decoration."""
    none, static = accuracy([]), accuracy(STATIC[:2])
    assert 0.52 < none < 0.72
    assert static > none + 0.02


def test_more_demonstrations_help_on_average():
    """Prevents a judge that stops learning after the first two.

    The mean over a whole range of draws, not one of them: now and then 16 right demonstrations mislead the judge.
    """
    draws = [noiseless_accuracy([*STATIC[:2], *taught(16, seed)]) for seed in range(10, 26)]
    assert fmean(draws) > noiseless_accuracy(STATIC[:2]) + 0.02


def test_reversed_demonstrations_teach_the_reverse():
    """Prevents a judge that improves by anything other than what the demonstrations say."""
    lists = taught(16, seed=11)
    turned = [Demonstration.of(each.question, tuple(reversed(each.answers)), "dynamic") for each in lists]
    assert accuracy(turned) < accuracy([]) - 0.1 < accuracy(lists) - 0.1


def test_the_same_request_gets_the_same_reply_and_another_fence_another_whim():
    """Prevents a resumed run from getting other labels than the first one paid for."""
    noisy = Behaviour(noise=5.0)
    assert reply(EXAM[0], STATIC, noisy) == reply(EXAM[0], STATIC, noisy)
    calls = {reply(labelled, [], noisy)[1] for labelled in EXAM[:10]}
    assert len(calls) > 1


def test_position_bias_favours_the_first_place():
    """Prevents a setting that is read but changes nothing."""
    first = [reply(labelled, STATIC, Behaviour(position_bias=50.0)) for labelled in EXAM[:10]]
    for call, text in first:
        labels = [label for label, _ in call.shown]
        order = tuple(item for (item,) in parse_verdict(call, Reply(text, "simulated-judge", 0, 0, 0.0, 0.0)))
        assert order == tuple(dict(call.shown)[label] for label in labels)


def test_learning_finds_the_top_of_the_posterior():
    """Prevents a Newton iteration that stops short from passing for learning."""
    shown = [(each.question, each.answers) for each in [*STATIC, *taught(8, seed=11)]]
    weights = learning.learn(shown)
    lists = [np.array([features(question, text) for text in answers]) for question, answers in shown]
    best = learning._log_posterior(weights, lists)
    draw = np.random.default_rng(0)
    nearby = [weights + draw.normal(0, 0.02, len(NAMES)) for _ in range(200)]
    assert max(learning._log_posterior(each, lists) for each in nearby) < best
    assert learning._log_posterior(learning.prior_mean(), lists) < best


@pytest.mark.parametrize("text", ["", "?!", "ß" * 500, "{{ x }}", "\x00\n\t"])
def test_any_answer_has_finite_features(text):
    """Prevents one odd sample from breaking a whole ranking."""
    assert np.isfinite(features(text, text)).all()


def test_the_judge_process_never_loads_the_world():
    """Prevents a judge that knows the gold rubric or the world's right details."""
    code = (
        "import sys, cyclealign.demo.judge.process, cyclealign.demo.judge.server;"
        "print([name for name in sys.modules if name.startswith('cyclealign') and 'judge' not in name])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    nouns = {each for each in eval(loaded) if not each.startswith("cyclealign.records")}  # noqa: S307
    assert nouns == {"cyclealign", "cyclealign.demo", "cyclealign.errors"}


def test_static_demonstrations_are_balanced_and_none_of_the_worlds():
    """Prevents demonstrations that give the exam away or teach that long is good."""
    assert not {each.question for each in STATIC} & set(dataset.all_prompts())
    longest_is_best = [max(each.answers, key=len) == each.answers[0] for each in STATIC]
    assert {True, False} == set(longest_is_best)
    refused = ["help" in each.answers[0] and "can't" in each.answers[0] for each in STATIC]
    assert sum(refused) == len(STATIC) / 2
    assert not [each.question for each in STATIC if find_topic(each.question)], "nor one of them in other words"
