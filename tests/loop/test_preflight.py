"""Checks before a run: everything that would stop it is found at once, before anything is generated or paid for."""

import sys

import pytest

from cyclealign.config import checked, load_config
from cyclealign.errors import NotReady
from cyclealign.loop.ports import Ports
from cyclealign.loop.preflight import check
from cyclealign.loop.preflight.check import examine, require_ready
from cyclealign.store import Store
from tests.support.local_judge import LocalJudge
from tests.support.paths import PROMPTS
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def unchecked():
    """Prevents a config that an earlier test has checked from passing here."""
    check._ready.clear()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHECK_KEY", "a-very-secret-key")
    return tmp_path


@pytest.fixture
def judge():
    with LocalJudge() as judge:
        yield judge


def findings(sections, rounds=1, thorough=False):
    config = checked({"templates": str(PROMPTS), **sections}, "test")
    with Store.open() as store:
        found = list(examine(config, store, Ports(), rounds, thorough))
    return {finding.subject: finding for finding in found if finding.level != "ok"} or {"all": "ok"}


def real_judge(judge, **more):
    return {"judge": {"model": "local", "base_url": judge.url, "api_key_variable": "CHECK_KEY", **more}}


def test_a_config_that_is_complete_has_no_finding(home, judge):
    assert findings(real_judge(judge)) == {"all": "ok"}
    assert [ping["model"] for ping in judge.pings] == ["local"]
    assert sum(judge.asked.values()) == 0


def test_the_judge_of_the_duels_is_checked_like_the_judge(home, judge, monkeypatch):
    """Prevents a round that is generated, judged and trained, and then has no judge for its duels."""
    evaluation = {"judge": "examiner", "judge_api_key_variable": "OTHER_KEY"}
    found = findings({**real_judge(judge), "evaluation": evaluation})
    assert "OTHER_KEY" in found["judge"].message
    monkeypatch.setenv("OTHER_KEY", "another-secret-key")
    assert findings({**real_judge(judge), "evaluation": evaluation}) == {"all": "ok"}
    assert [ping["model"] for ping in judge.pings] == ["local", "local", "examiner"]


def test_everything_that_is_missing_is_named_at_once(home, monkeypatch):
    """Prevents a first hour in which each start finds one more missing part."""
    monkeypatch.delenv("CHECK_KEY")
    sections = {
        "templates": str(home / "nowhere"),
        "prompts": {"set_name": "mine"},
        "policy": {"model": str(home / "no-model")},
        "judge": {"model": "gpt-4o-mini", "api_key_variable": "CHECK_KEY"},
        "training": {"accelerate_config": str(home / "two.yaml")},
    }
    found = findings(sections)
    assert {subject for subject, each in found.items() if each.missing} == {
        "templates",
        "prompts",
        "model",
        "judge",
        "training",
    }
    assert "cyclealign prompts import" in found["prompts"].message
    assert "Set policy.model" in found["model"].message
    assert "CHECK_KEY" in found["judge"].message
    assert "remove training.accelerate_config" in found["training"].message


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses the key in CHECK_KEY"),
        (403, "refuses the key in CHECK_KEY"),
        (402, "no money left"),
        (400, "scripted 400"),
    ],
)
def test_a_judge_that_answers_no_request_is_found(home, judge, status, words):
    """Prevents a wrong key or an empty account from being found after an hour of generation."""
    judge.ping_status = status
    found = findings(real_judge(judge))["judge"]
    assert found.missing
    assert words in found.message
    assert "secret" not in found.message


def test_an_unknown_model_is_found_with_the_name_that_was_meant(home, judge):
    judge.ping_status = 404
    assert "Did you mean 'local-large'?" in findings(real_judge(judge, model="local-larg"))["judge"].message


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_judge_that_is_busy_or_falters_does_not_stop_a_run(home, judge, status):
    """Prevents a scheduled run from failing on a fault that the run itself would wait out."""
    judge.ping_status = status
    assert findings(real_judge(judge, backoff_seconds=0.001))["judge"].level == "note"


def test_a_judge_that_is_not_there_is_found(home):
    sections = {"judge": {"model": "local", "base_url": "http://127.0.0.1:9/v1", "api_key_variable": "CHECK_KEY"}}
    found = findings({"judge": {**sections["judge"], "backoff_seconds": 0.001}})["judge"]
    assert found.missing
    assert "does not respond" in found.message


def test_a_budget_of_money_needs_a_price(home, judge):
    found = findings({**real_judge(judge), "budget": {"usd": 1.0}})["price"]
    assert found.missing
    assert "usd_per_million_prompt_tokens" in found.message


def test_a_batch_api_that_the_simulated_judge_lacks_is_found(home):
    assert findings({"judge": {"delivery": "batch"}})["judge"].missing


def import_prompts(home, train, held_out):
    from cyclealign.records import Message, Prompt

    rows = [Prompt.of((Message(role="user", content=f"how do i {number}"),)) for number in range(train + held_out)]
    with Store.open() as store:
        store.prompts.add("mine", [(row, "train" if n < train else "held_out") for n, row in enumerate(rows)], "test")


@pytest.mark.parametrize(
    ("rounds", "level"), [(2, None), (3, "note"), (4, "missing")], ids=["enough", "a smaller last round", "too few"]
)
def test_the_prompts_suffice_for_the_rounds_asked(home, rounds, level):
    """Prevents the fourth round of a night from finding no prompt, and a refusal of a last round that is smaller."""
    import_prompts(home, 25, 5)
    found = findings({"prompts": {"set_name": "mine", "per_round": 10, "held_out": 5}}, rounds)
    assert getattr(found.get("prompts"), "level", None) == level
    if level:
        assert (
            "25 train prompts, 25 of them unused: enough for 3 rounds (the last one with 5)" in found["prompts"].message
        )


def test_a_set_smaller_than_a_round_is_described_as_one_round(home):
    """Prevents "enough for 1 round (the last one with 20)", which names a round that is not there."""
    import_prompts(home, 20, 5)
    message = findings({"prompts": {"set_name": "mine", "per_round": 50, "held_out": 5}})["prompts"].message
    assert "enough for 1 round (with 20) at prompts.per_round = 50" in message


def test_a_set_without_held_out_prompts_is_found(home):
    import_prompts(home, 25, 0)
    found = findings({"prompts": {"set_name": "mine", "per_round": 10}})["prompts"]
    assert found.missing
    assert "Without held-out prompts" in found.message


def model_findings(home, **policy):
    import_prompts(home, 25, 5)
    sections = {"prompts": {"set_name": "mine", "per_round": 10, "held_out": 5}}
    return findings({**sections, "policy": {"model": str(home / "model"), **policy}})


def test_a_model_without_a_chat_template_is_found(home):
    """Prevents the weights of a base model from being loaded before its tokenizer turns out to be of no use."""
    make_model(home / "model", template=None)
    assert "no chat template" in model_findings(home)["model"].message


def test_a_template_that_rejects_the_prompts_is_found(home):
    make_model(home / "model", template="{{ raise_exception('only pairs of turns') }}")
    assert "only pairs of turns" in model_findings(home)["model"].message


def test_weights_that_may_not_be_loaded_are_found(home):
    (make_model(home / "model") / "model.safetensors").rename(home / "model" / "pytorch_model.bin")
    assert "holds no *.safetensors" in model_findings(home)["model"].message


def test_answers_that_leave_no_room_for_a_prompt_are_found(home):
    make_model(home / "model", context=64)
    found = model_findings(home, max_new_tokens=64)["context"]
    assert found.missing
    assert "context of 64" in found.message


def test_a_setting_that_this_model_ignores_is_said(home):
    """Prevents a user from believing that a folder was loaded at the commit in the config."""
    make_model(home / "model")
    found = model_findings(home, revision="abc")["model"]
    assert (found.level, "policy.revision has no effect" in found.message) == ("note", True)


@pytest.mark.parametrize("text", ["[1, 2]", "{", None], ids=["a list", "broken", "absent"])
def test_a_file_of_accelerate_that_cannot_be_used_is_found(home, text):
    """Prevents a round that is paid for and then cannot be trained."""
    path = home / "two.yaml"
    if text is not None:
        path.write_text(text)
    assert findings({"training": {"accelerate_config": str(path)}})["training"].missing


def test_an_experiment_with_another_base_model_is_found(bench):
    code, output = bench.run()
    assert code == 0, output
    bench.set("policy", model=str(make_model(bench.home / "other")))
    with pytest.raises(NotReady, match="began with the model"):
        require_ready(load_config(bench.write()))


def test_vllm_is_found_without_being_imported(home):
    """Prevents a check that takes a minute at each start."""
    found = findings({"policy": {"kind": "vllm"}, "engine": {"python": sys.executable}})["vLLM"]
    assert found.missing
    assert "No package metadata was found for vllm" in found.message


def test_a_finished_run_needs_nothing(bench, monkeypatch):
    """Prevents a schedule that has reached its last round from failing for want of a key."""
    bench.set("", until=1)
    assert bench.run()[0] == 0
    monkeypatch.delenv("TEST_JUDGE_KEY")
    require_ready(load_config(bench.write()))
    assert bench.judge.pings == []


def test_an_open_round_needs_no_judge(bench, monkeypatch):
    """Prevents a round whose replies are all stored from being held up by a key that is gone."""
    bench.set("training", learning_rate=1e300)
    monkeypatch.setattr("cyclealign.loop.align.STEPS", {"agree": fails})
    assert bench.run()[0] == 1
    monkeypatch.delenv("TEST_JUDGE_KEY")
    require_ready(load_config(bench.write()))
    assert bench.judge.pings == []


def fails(session, round_):
    from cyclealign.errors import TrainingFailed

    raise TrainingFailed("scripted")


def test_notes_are_reported_and_a_config_is_checked_once(bench):
    """Prevents a second paid request when the flow starts in the process of the command line."""
    bench.set("judge", group_size=5)
    config, notes = load_config(bench.write()), []
    require_ready(config, notify=notes.append)
    require_ready(config, notify=notes.append)
    assert notes == ['settings: judge.group_size has no effect with judge.method = "listwise".']
    assert len(bench.judge.pings) == 1


def test_a_parameter_that_the_endpoint_refuses_is_found_out_before_the_round(home, judge, monkeypatch):
    """Prevents a reasoning judge from being refused for a parameter that the run itself would leave out."""
    pong = judge._pong

    def refuse_max_tokens(body):
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return 400, {"error": {"message": words, "param": "max_tokens", "code": "unsupported_parameter"}}
        return pong(body)

    monkeypatch.setattr(judge, "_pong", refuse_max_tokens)
    assert findings(real_judge(judge)) == {"all": "ok"}
    assert "max_completion_tokens" in judge.pings[-1]
