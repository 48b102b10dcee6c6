"""In-context learning of the simulated judge, from the request alone."""

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

pytestmark = pytest.mark.slow

STATIC = load_demonstrations(PROMPTS / "demonstrations.jsonl")
EXAM = dataset.labelled_lists(80, 4, seed=1)


def gold_demonstrations(count, seed):
    """Return demonstrations in gold order, on labelled prompts outside the exam."""
    known = {each.prompt.id for each in EXAM}
    lists = [each for each in dataset.labelled_lists(200, 4, seed) if each.prompt.id not in known]
    return [Demonstration.of(each.prompt.text, each.answers, "dynamic") for each in lists[:count]]


def reply(labelled, demonstrations, behaviour):
    """Return the call and the judge's reply for one labelled list, from the messages that an LLM would receive."""
    spec = PromptSpec(load_template(PROMPTS, "rank"), "simulated-judge", (), seed=3)
    texts = labelled_texts(labelled)
    call = rank_call(spec, "accuracy", labelled.id, labelled.prompt.text, texts, demonstrations, 0)
    return call, judge([message["content"] for message in call.messages], behaviour).text


def accuracy(demonstrations):
    scores = []
    for labelled in EXAM:
        call, text = reply(labelled, demonstrations, Behaviour())
        order = tuple(item for (item,) in parse_verdict(call, Reply(text, "simulated-judge", 0, 0, 0.0, 0.0)))
        scores.append(pair_accuracy(order, labelled_ids(labelled)))
    return fmean(scores)


def noiseless_accuracy(demonstrations):
    """Return the accuracy without noise and without rendering, so that many draws can be averaged."""
    weights = learning.learn([(each.question, each.answers) for each in demonstrations])
    scores = []
    for labelled in EXAM:
        worth = learning.scores(weights, labelled.prompt.text, labelled.answers)
        scores.append(fmean(worth[better] > worth[worse] for better, worse in combinations(range(4), 2)))
    return fmean(scores)


def test_static_demonstrations_raise_the_accuracy():
    """Prevents a judge that ignores its demonstrations."""
    none, static = accuracy([]), accuracy(STATIC[:2])
    assert 0.52 < none < 0.72
    assert static > none + 0.02


def test_more_demonstrations_help_on_average():
    """Prevents a judge that stops learning after two demonstrations.

    The mean over many draws is tested: in single draws, 16 right demonstrations may mislead the judge.
    """
    draws = [noiseless_accuracy([*STATIC[:2], *gold_demonstrations(16, seed)]) for seed in range(10, 26)]
    assert fmean(draws) > noiseless_accuracy(STATIC[:2]) + 0.02


def test_reversed_demonstrations_teach_the_reverse():
    """Prevents a judge that improves whatever its demonstrations say."""
    lists = gold_demonstrations(16, seed=11)
    reversed_ = [Demonstration.of(each.question, tuple(reversed(each.answers)), "dynamic") for each in lists]
    assert accuracy(reversed_) < accuracy([]) - 0.1 < accuracy(lists) - 0.1


def test_equal_requests_get_equal_replies_and_others_get_other_noise():
    """Prevents a resumed run from getting other labels than the first run."""
    noisy = Behaviour(noise=5.0)
    assert reply(EXAM[0], STATIC, noisy) == reply(EXAM[0], STATIC, noisy)
    replies = {reply(labelled, [], noisy)[1] for labelled in EXAM[:10]}
    assert len(replies) > 1


def test_position_bias_favours_the_first_position():
    """Prevents a setting without effect."""
    first = [reply(labelled, STATIC, Behaviour(position_bias=50.0)) for labelled in EXAM[:10]]
    for call, text in first:
        labels = [label for label, _ in call.shown]
        order = tuple(item for (item,) in parse_verdict(call, Reply(text, "simulated-judge", 0, 0, 0.0, 0.0)))
        assert order == tuple(dict(call.shown)[label] for label in labels)


def test_learning_finds_the_mode_of_the_posterior():
    """Prevents a Newton iteration that stops before convergence."""
    shown = [(each.question, each.answers) for each in [*STATIC, *gold_demonstrations(8, seed=11)]]
    weights = learning.learn(shown)
    lists = [np.array([features(question, text) for text in answers]) for question, answers in shown]
    best = learning._log_posterior(weights, lists)
    draw = np.random.default_rng(0)
    nearby = [weights + draw.normal(0, 0.02, len(NAMES)) for _ in range(200)]
    assert max(learning._log_posterior(each, lists) for each in nearby) < best
    assert learning._log_posterior(learning.prior_mean(), lists) < best


@pytest.mark.parametrize("text", ["", "?!", "ß" * 500, "{{ x }}", "\x00\n\t"])
def test_any_answer_has_finite_features(text):
    """Prevents one odd answer from breaking a whole ranking."""
    assert np.isfinite(features(text, text)).all()


def test_the_judge_process_never_loads_the_world():
    """Prevents a judge with access to the gold rubric or the world's right details."""
    code = (
        "import sys, cyclealign.demo.judge.process, cyclealign.demo.judge.server;"
        "print([name for name in sys.modules if name.startswith('cyclealign') and 'judge' not in name])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    nouns = {each for each in eval(loaded) if not each.startswith("cyclealign.records")}  # noqa: S307
    assert nouns == {"cyclealign", "cyclealign.demo", "cyclealign.errors"}


def test_static_demonstrations_are_balanced_and_not_from_the_demo_world():
    """Prevents demonstrations that leak the exam or teach that longer is better."""
    assert not {each.question for each in STATIC} & set(dataset.all_prompts())
    longest_is_best = [max(each.answers, key=len) == each.answers[0] for each in STATIC]
    assert {True, False} == set(longest_is_best)
    refused = ["help" in each.answers[0] and "can't" in each.answers[0] for each in STATIC]
    assert sum(refused) == len(STATIC) / 2
    assert not [each.question for each in STATIC if find_topic(each.question)], "nor one of them in other words"
