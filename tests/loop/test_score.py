"""The policy ranks by the score of the settings; further log-probs are computed once and survive a kill."""

import re

import pytest

from cyclealign.config import PolicySettings
from cyclealign.judge.templates import load_template
from cyclealign.loop.score import WITHOUT_QUESTION, answer_sums, without_question
from cyclealign.loop.self_judgement import label_scores, request, rotations
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Candidate, Prompt, Template, Thought
from cyclealign.store import Store
from tests.support.chat_models import make_chat_model
from tests.support.paths import ROOT
from tests.support.tiny import make_model

SHORT = Template(
    "rank",
    "{% block system %}Rank the answers.{% endblock %}{% block user %}[{{ fence }}] {{ question }}\n"
    "{% for answer in answers %}{{ answer.label }}: {{ answer.text }}\n{% endfor %}{% endblock %}",
)


def user(text):
    return {"role": "user", "content": text}


def lists(number=1):
    with Store.open() as store:
        rows = store.history.detail("bench", number)
    return rows, [row for row in rows["prompts"] if row["purpose"] == "train"]


def ranked(row):
    """The candidates that the policy ranked: not those that repeat another's text."""
    return [each for each in row["candidates"] if each["policy_place"] is not None]


def by_score(row):
    """The candidates' ids by the scores of the view ``answers``."""
    return [each["candidate_id"] for each in sorted(ranked(row), key=lambda each: -each["policy_score"])]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return TransformersPolicy(PolicySettings(), str(make_model(tmp_path_factory.mktemp("model"), context=4096)))


@pytest.fixture(scope="module")
def chat_policy(tmp_path_factory):
    """A policy whose tokenizer knows letters, as those of labels."""
    return TransformersPolicy(PolicySettings(), str(make_chat_model("qwen2", tmp_path_factory.mktemp("chat"), steps=0)))


def candidate(ids, thought=None):
    return Candidate("c" + "-".join(map(str, ids)), "p", 0, "text", tuple(ids), -1.0, "stop", None, thought=thought)


def test_the_answer_without_its_question_follows_an_empty_turn(policy):
    """Prevents a difference between two contexts that are not the same but for the question."""
    asked = Prompt.of((user("how do i bake bread"),))
    answers = [candidate([10, 11, 2]), candidate([12, 2])]
    ids = policy.prompt_ids(Prompt.of((user(""),)))
    expected = [sum(policy.token_logprobs([[*ids, *each.token_ids]])[0][len(ids) - 1 :]) for each in answers]
    sums = answer_sums(policy, without_question(asked), answers)
    assert [sums[each.id] for each in answers] == pytest.approx(expected, abs=1e-4)
    assert without_question(Prompt.of(({"role": "system", "content": "be kind"}, *asked.messages))).messages == (
        {"role": "system", "content": "be kind"},
        user(""),
    )


def test_a_thought_is_a_part_of_the_condition(policy):
    """Prevents the log-prob of a thought from entering the score of the answer after it."""
    thoughtful = candidate([10, 11, 12, 2], Thought("bake bread", 2, -0.5))
    plain = candidate([10, 11, 12, 2])
    asked = Prompt.of((user("how"),))
    ids = policy.prompt_ids(asked)
    expected = sum(policy.token_logprobs([[*ids, 10, 11, 12, 2]])[0][-2:])
    assert answer_sums(policy, asked, [thoughtful])[thoughtful.id] == pytest.approx(expected, abs=1e-4)
    assert answer_sums(policy, asked, [plain])[plain.id] < expected


def test_self_judgement_asks_by_the_judges_template_in_every_rotation():
    """Prevents a policy that is asked otherwise than the judge, and answers that never stand first."""
    template = load_template(ROOT / "prompts", "rank")
    asked = Prompt.of((user("how do i bake bread"),))
    system, shown = request(template, asked, ["use the oven", "no"], seed=3)
    assert "You rank the answers" in system["content"]
    assert "Example" not in system["content"]
    assert re.findall(r"\[\[answer (\w+) \w+\]\]\n(.*)\n", shown["content"]) == [("A", "use the oven"), ("B", "no")]
    assert rotations(["x", "y", "z"]) == [["x", "y", "z"], ["y", "z", "x"], ["z", "x", "y"]]


def test_self_judgement_does_not_depend_on_the_order_of_the_answers(chat_policy):
    """Prevents scores by the place in the database."""
    asked = Prompt.of((user("how do i bake bread"),))
    one = label_scores(chat_policy, SHORT, asked, {"a": "use the oven", "b": "no", "c": "yes"}, seed=3)
    two = label_scores(chat_policy, SHORT, asked, {"c": "yes", "b": "no", "a": "use the oven"}, seed=3)
    assert one == pytest.approx(two)
    assert len(set(one.values())) == 3


def test_a_score_in_a_round_is_stored_shown_and_everything_follows_it(bench):
    """Prevents a setting that is stored while the policy still ranks by the mean log-prob."""
    bench.set("agreement", score="sum_logprob", length_control=True)
    bench.set("training", target="agreement")
    code, output = bench.run()
    assert code == 0, output
    detail, rows = lists()
    for row in rows:
        assert row["rankings"]["policy"]["order"] == by_score(row)
        assert row["rankings"]["policy"]["score"] == "sum_logprob"
        slope = row["rankings"]["policy"]["length_slope"]
        for each in ranked(row):
            assert each["policy_score"] == pytest.approx(each["logprob_sum"] - slope * each["token_count"])
            assert each["policy_score_name"] == "sum_logprob"
    assert detail["summary"]["policy_score_name"] == "sum_logprob"
    assert "the policy ranks by sum_logprob without its slope of" in detail["notes"]["score"]


def test_pmi_is_computed_once_and_a_killed_round_goes_on(bench, monkeypatch):
    """Prevents log-probs that were paid for with minutes from being computed again after a kill."""
    sums, asked = TransformersPolicy.logprob_sums, []

    def counted(self, prompt, answers):
        asked.append(prompt.id)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return sums(self, prompt, answers)

    monkeypatch.setattr(TransformersPolicy, "logprob_sums", counted)
    bench.set("agreement", score="pmi")
    bench.set("evaluation", labelled_lists=0)  # the policy scores those, too
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    code, output = bench.run()
    assert code == 0, output
    assert len(asked) == 4 + 1  # a list each, and again the one that was cut off
    detail, rows = lists()
    with Store.open() as store:
        kept = store.logprobs.of_round(1, WITHOUT_QUESTION)
    for row in rows:
        assert row["rankings"]["policy"]["order"] == by_score(row)
        for each in ranked(row):
            assert each["policy_score"] == pytest.approx(each["logprob_sum"] - kept[each["candidate_id"]])
    assert "score" in {step["step"] for step in detail["steps"]}


def test_the_implicit_reward_begins_with_the_first_training(bench):
    """Prevents a first round that ranks by zeros, which would order answers by their ids."""
    bench.set("agreement", score="implicit_reward")
    bench.set("acceptance", min_win_rate=0.0)
    bench.set("training", learning_rate=0.05)
    code, output = bench.run(rounds=2)
    assert code == 0, output
    first, second = lists(1), lists(2)
    assert {row["rankings"]["policy"]["score"] for row in first[1]} == {"mean_logprob"}
    assert "implicit_reward of an untrained policy is 0" in first[0]["notes"]["score"]
    assert {row["rankings"]["policy"]["score"] for row in second[1]} == {"implicit_reward"}
    assert all(each["policy_score"] for row in second[1] for each in ranked(row))


def test_a_list_that_does_not_fit_the_context_names_the_setting_and_nothing_is_lost(bench):
    """Prevents a round that cannot be finished: another score takes the same answers and verdicts."""
    bench.set("agreement", score="self_judgement")
    code, output = bench.run()
    assert code == 1
    assert "the model's context is 128. Set another score and rerun" in output
    asked = len(bench.judge.bodies)
    bench.set("agreement", score="mean_logprob")
    code, output = bench.run()
    assert code == 0, output
    assert "agreement.score: self_judgement -> mean_logprob" in output
    assert len(set(map(str, bench.judge.bodies[:asked]))) == asked


def test_a_score_changed_after_the_policy_ranked_is_ignored_aloud(bench):
    """Prevents a round whose lists are ranked by two scores."""
    bench.set("training", min_preference=1.0, objective="pro")
    bench.judge.script = lambda answers: " = ".join(label for label, _ in answers)
    assert bench.run()[0] == 1  # all answers tie, so there is nothing to learn
    bench.set("agreement", score="sum_logprob")
    _, output = bench.run()
    assert "agreement.score: mean_logprob -> sum_logprob (the policy has ranked its answers)" in output
    _, rows = lists()
    assert {row["rankings"]["policy"]["score"] for row in rows} == {"mean_logprob"}
