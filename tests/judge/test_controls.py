"""Control requests: their content, the scores of verdicts, the failing of a judge. The judges are scripted."""

import asyncio
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.config import HealthSettings, JudgeSettings
from cyclealign.judge import adversarial, controls
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_template
from cyclealign.records import Demonstration, FailedCall, LabelledList, Prompt, Reply
from tests.support.paths import PROMPTS

TEMPLATE = load_template(PROMPTS, "rank")
SPEC = PromptSpec(TEMPLATE, "scripted", (), seed=3)
LISTS = 6
# Best first; the judge that likes length orders them 3, 1, 4, 2: half of the pairs right.
ANSWERS = ("Worth 4. ab", "Worth 3. abcdef", "Worth 2.", "Worth 1. abc")


def labelled(number, answers=None):
    texts = answers or tuple(f"{each} {number}" for each in ANSWERS)
    return LabelledList(Prompt.of(({"role": "user", "content": f"question {number}"},)), texts, "test")


def examined(script, lists=LISTS):
    """Return the verdicts of a judge that orders [(label, text), ...] by ``script``, and the calls it received."""
    calls = []

    async def ask_judge(call):
        calls.append(call)
        content = call.messages[-1]["content"]
        fence = re.match(r"\[\[question (\S+)\]\]", content)[1]
        shown = re.findall(rf"\[\[answer (\w+) {fence}\]\]\n(.*?)\n\[\[/answer \1 {fence}\]\]", content, re.DOTALL)
        said = script(shown)
        return (
            FailedCall("no reply") if said is None else Reply(json.dumps({"ranking": said}), "scripted", 0, 0, 0.0, 0.0)
        )

    async def run():
        made = controls.build_control_sets([labelled(number) for number in range(lists)], 4, 1)
        return [await controls.examine(ask_judge, each, task_for(each)) for each in made]

    return asyncio.run(run()), calls


def task_for(each):
    text = each.labelled.prompt.text
    return lambda subject, answers: RankingTask(SPEC, "health", subject, text, answers)


def worth(text):
    return int((re.search(r"Worth (\d)", text) or [0, 0])[1])


def honest(shown):
    return [label for label, text in sorted(shown, key=lambda each: -worth(each[1]))]


def as_shown(shown):
    return [label for label, _ in shown]


def longest(shown):
    return [label for label, text in sorted(shown, key=lambda each: (-len(each[1]), each[1]))]


def shortest(shown):
    return longest(shown)[::-1]


def obedient(shown):
    return [label for label, text in sorted(shown, key=lambda each: (not commanding(each[1]), -worth(each[1])))]


def commanding(text):
    return bool(adversarial.attack_signals(text)) and worth(text) > 0


def backwards(shown):
    return [
        label
        for label, text in sorted(shown, key=lambda each: (bool(adversarial.attack_signals(each[1])), worth(each[1])))
    ]


def indifferent(shown):
    return [[label for label, _ in shown]]


def figures(script):
    found, _ = examined(script)
    return {each.name: each for each in controls.control_metrics(found)}


NAMES = ("health_accuracy", "health_swap", "health_repeat", "health_junk", "health_injection")
GOLDEN = [
    (honest, (1.0, 1.0, 1.0, 1.0, 1.0), []),
    (as_shown, (0.5, 0.0, 1.0, 0.5, 0.5), ["health_swap", "health_junk"]),
    (longest, (0.5, 1.0, 1.0, 4 / 6, 0.0), ["health_injection"]),
    (shortest, (0.5, 1.0, 1.0, 2 / 6, 1.0), ["health_junk"]),
    (obedient, (1.0, 1.0, 1.0, 1.0, 0.0), ["health_injection"]),
    (backwards, (0.0, 1.0, 1.0, 1.0, 1.0), ["health_accuracy"]),
    (indifferent, (0.5, 1.0, 1.0, 0.5, 0.5), ["health_junk"]),
]


@pytest.mark.parametrize(("script", "wanted", "refused_for"), GOLDEN, ids=lambda each: getattr(each, "__name__", ""))
def test_each_weakness_of_a_judge_shows_in_its_own_control(script, wanted, refused_for):
    """Prevents a health check that passes an unfit judge, or names the wrong weakness."""
    found = figures(script)
    assert [found[name].value for name in NAMES] == pytest.approx(wanted)
    assert [each.split()[0] for each in controls.failures(found, HealthSettings())] == refused_for


def test_a_judge_that_ranks_at_random_fails_the_repeat():
    """Prevents a random judge from passing because its two orders are never compared.

    Its second verdict on the same order is the reverse of the first.
    """
    seen = set()

    def fickle(shown):
        texts = tuple(text for _, text in shown)
        again = texts in seen
        seen.add(texts)
        return honest(shown)[::-1] if again else honest(shown)

    found = figures(fickle)
    assert found["health_repeat"].value == 0.0
    assert found["health_swap"].value == 1.0
    (complaint,) = controls.failures(found, HealthSettings())
    assert "health_repeat 0.00 [0.00, 0.10]" in complaint
    assert "health.min_repetition_stability = 0.60" in complaint


def test_a_few_verdicts_cannot_fail_a_judge_by_chance():
    """Prevents one odd verdict from ending a round, and from going unreported."""

    def once_misled(shown):
        return (
            obedient(shown)
            if any(text.startswith("Worth 1. abc 0\n\nRank this") for _, text in shown)
            else honest(shown)
        )

    found, _ = examined(once_misled, lists=2)
    metrics = {each.name: each for each in controls.control_metrics(found)}
    bounds = HealthSettings(min_injections_refused=0.8)
    assert metrics["health_injection"].value == 0.5
    assert controls.failures(metrics, bounds) == []
    (warning,) = controls.uncertain_failures(metrics, bounds)
    assert warning.startswith("health_injection 0.50")


def test_unreadable_replies_give_no_metrics_and_no_failures():
    """Prevents an unreadable reply from counting as a wrong or a right verdict."""
    found = [each for script in (lambda shown: None, lambda shown: ["?"]) for each in examined(script)[0]]
    assert controls.control_metrics(found) == []
    assert controls.failures({}, HealthSettings()) == controls.uncertain_failures({}, HealthSettings()) == []
    assert len(found[-1].problems) == 2 * controls.REQUESTS_PER_LIST


def test_a_missing_verdict_affects_only_its_own_metrics():
    """Prevents a metric over pairs that were compared only once."""
    a_verdict = (("best",), ("worst",))
    one_sided = controls.ControlVerdicts(
        ("best", "worst"), (a_verdict, None, a_verdict), (None, a_verdict), (None, None)
    )
    found = {each.name: each.count for each in controls.control_metrics([one_sided])}
    assert found == {"health_accuracy": 1, "health_repeat": 1, "health_junk": 1}


def test_a_repeat_shows_the_same_order_with_other_labels():
    """Prevents a repeat that is answered from the store, or that changes the order."""
    _, calls = examined(honest, lists=1)
    shown, mirrored, again = [call for call in calls if call.subject_id.startswith("list")]
    items = [[item for _, item in call.shown] for call in (shown, mirrored, again)]
    assert items[0] == items[2] == items[1][::-1]
    assert {label for label, _ in shown.shown}.isdisjoint(label for label, _ in again.shown)
    assert len({call.key for call in calls}) == len(calls) == controls.REQUESTS_PER_LIST


def test_an_empty_answer_reaches_the_judge_as_an_empty_answer():
    """Prevents the empty answer from being dropped by a template or filter, which would pass any judge."""
    _, calls = examined(honest, lists=1)
    junk = next(call for call in calls if call.subject_id.startswith("junk"))
    fence = re.match(r"\[\[question (\S+)\]\]", junk.messages[-1]["content"])[1]
    empty = [
        label for label, _ in junk.shown if f"[[answer {label} {fence}]]\n\n[[/answer" in junk.messages[-1]["content"]
    ]
    assert len(empty) == 1
    assert len(junk.shown) == 2


@pytest.mark.parametrize("text", [*controls.JUNK, *controls.ATTACKS])
def test_junk_and_attacks_are_also_flagged_in_answers(text):
    """Prevents controls and flags from drifting apart."""
    assert adversarial.attack_signals(text)
    assert adversarial.sanitized(text) == text


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 3))
def test_all_lists_are_used_in_rotation_and_none_twice_in_a_round(known, count, seed):
    """Prevents the same controls each round while most lists are never used."""
    lists = [labelled(number) for number in range(known)]
    rounds = [controls.choose_lists(lists, [], count, number, seed) for number in range(1, known + 2)]
    assert all(len({each.id for each in chosen}) == len(chosen) == min(count, known) for chosen in rounds)
    needed = -(-known // min(count, known))
    assert {each.id for chosen in rounds[:needed] for each in chosen} == {each.id for each in lists}


def test_spare_demonstrations_fill_up_and_unusable_lists_are_left_out():
    """Prevents controls whose best answer is content-free, and a health check skipped for lack of labels."""
    spare = [Demonstration.of(f"asked {number}", ("yes, like this", "no"), "static") for number in range(4)]
    labels = [labelled(1), labelled(2, ("", "an answer")), labelled(3, ("same", "same"))]
    chosen = controls.choose_lists(labels, spare, 3, 1, 0)
    assert [each.source for each in chosen] == ["test", "written", "written"]
    assert controls.choose_lists([], [], 3, 1, 0) == []


@pytest.mark.parametrize(
    ("method", "max_answers"),
    [("listwise", 5), ("adaptive", 5), ("pairwise", 2), ("tournament", 3)],
)
def test_controls_are_no_longer_than_the_lists_of_the_round(method, max_answers):
    """Prevents a judge from failing on longer lists than it is ever sent."""
    long = labelled(1, tuple(f"Worth {number}." for number in range(9, 0, -1)))
    at_once = controls.answers_per_request(JudgeSettings(method=method, group_size=3), 5)
    (made,) = controls.build_control_sets([long], at_once, 1)
    assert len(made.labelled.answers) == at_once == max_answers
    assert (made.labelled.answers[0], made.labelled.answers[-1]) == ("Worth 9.", "Worth 1.")
