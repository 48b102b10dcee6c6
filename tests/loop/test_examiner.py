"""Another judge for the duels than for the rankings."""

import json

import pytest

from cyclealign.config import ExperimentConfig, checked
from cyclealign.errors import BadConfig
from cyclealign.loop.duels import demonstrations_of_duels
from cyclealign.records import Demonstration, Round, RoundPlan
from tests.support.local_judge import LocalJudge, answers_in


def test_the_duels_alone_go_to_the_other_judge_with_its_own_name_and_key(bench, monkeypatch):
    """Prevents a teacher that examines itself, a key that goes to another host, and duels that are paid twice."""
    monkeypatch.setenv("OTHER_KEY", "another-secret-key")
    bench.set("prompts", held_out=8)
    bench.set("training", learning_rate=0.1)  # so that the new policy answers otherwise than its parent
    bench.set("acceptance", min_win_rate=0.0)
    with LocalJudge() as other:
        bench.set(
            "evaluation",
            judge="examiner",
            judge_base_url=other.url,
            judge_api_key_variable="OTHER_KEY",
            against_base=True,
        )
        code, output = bench.run()
        assert code == 0, output
        asked = [len(answers_in(body["messages"][-1]["content"])) for body in other.bodies]
        assert asked
        assert set(asked) == {2}
        assert {body["model"] for body in other.bodies + other.pings} == {"examiner"}
        assert set(other.headers) == {"Bearer another-secret-key"}
        assert set(bench.judge.headers) == {"Bearer a-very-secret-key"}
        count = len(other.bodies)
        assert bench.run(until=1)[0] == 0
        assert len(other.bodies) == count
    models = bench.query(
        "SELECT DISTINCT purpose, model FROM judge_call WHERE purpose IN ('rank', 'win_rate') ORDER BY 1"
    )
    assert models == [("rank", "local"), ("win_rate", "examiner")]


def test_another_examiner_sees_no_rankings_of_the_teacher():
    """Prevents an examiner that learns the teacher's errors from the demonstrations."""
    pool = (Demonstration("1", "q", ("a", "b"), "static"), Demonstration("2", "q", ("b", "a"), "dynamic"))
    round_ = Round(1, "x", 1, RoundPlan("x", {}, 0, (), (), (), pool, "base"), None)
    config = ExperimentConfig()
    assert len(demonstrations_of_duels(config, round_)) == 2
    other = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"judge": "other"})})
    assert [shown.kind for shown in demonstrations_of_duels(other, round_)] == ["static"]


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({"judge": "teacher"}, "Name another model"),
        ({"judge": "other", "judge_base_url": "http://127.0.0.1:9/v1"}, "evaluation.judge_api_key_variable"),
    ],
)
def test_an_examiner_that_is_the_teacher_or_would_get_its_key_is_refused(evaluation, words):
    """Prevents stored replies of one model that count as another's, and a key that goes to a host it is not for."""
    judge = {"kind": "openai", "model": "teacher"}
    with pytest.raises(BadConfig, match=words):
        checked({"judge": judge, "evaluation": evaluation}, "test")


def test_the_examiner_has_no_price_and_no_headers_of_the_judge():
    """Prevents a wrong cost, and a header with a secret that goes to another model's provider."""
    judge = {"kind": "openai", "model": "m", "usd_per_million_prompt_tokens": 1.0, "extra_headers": {"X-Org": "mine"}}
    config = checked({"judge": judge, "evaluation": {"judge": "other"}}, "test")
    assert config.examiner.model == "other"
    assert config.examiner.usd_per_million_prompt_tokens is None
    assert json.dumps(config.examiner.extra_headers) == "{}"
