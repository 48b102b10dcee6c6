"""`cyclealign doctor`: it names what a config needs and this machine lacks, and shows no secret."""

import sys

import pytest

from cyclealign.cli.doctor import check_up
from cyclealign.config import checked
from tests.support.local_judge import LocalJudge
from tests.support.paths import PROMPTS
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCTOR_KEY", "a-very-secret-key")
    return tmp_path


def found(ask=False, **sections):
    config = checked({"templates": str(PROMPTS), **sections}, "test")
    return {finding.subject: finding for finding in check_up(config, ask)}


def test_everything_that_is_missing_is_named_with_what_to_do(home):
    """Prevents a run that stops an hour later for want of a key or an environment."""
    lacking = found(
        policy={"kind": "vllm", "model": str(home / "nowhere")},
        engine={"python": str(home / "python")},
        judge={"model": "gpt-4o-mini", "api_key_variable": "DOCTOR_NO_KEY"},
    )
    assert {name for name, each in lacking.items() if each.missing} >= {"model", "judge", "vLLM"}
    assert "DOCTOR_NO_KEY" in lacking["judge"].message
    assert "make vllm" in lacking["vLLM"].message


def test_an_interpreter_without_vllm_is_named(home):
    finding = found(policy={"kind": "vllm"}, engine={"python": sys.executable})["vLLM"]
    assert finding.missing
    assert "No module named 'vllm'" in finding.message


def test_a_server_that_does_not_answer_is_named(home):
    finding = found(policy={"kind": "vllm"}, engine={"base_url": "http://127.0.0.1:9/v1"})["vLLM"]
    assert finding.missing
    assert "http://127.0.0.1:9/v1" in finding.message


def test_a_server_that_cannot_be_put_on_whole_weights_is_named(home):
    """Prevents a config that looks fine and is refused when its round is opened."""
    engine = {"base_url": "http://127.0.0.1:9/v1"}
    finding = found(policy={"kind": "vllm"}, engine=engine, training={"method": "full"})["vLLM"]
    assert finding.missing
    assert "a managed vLLM server" in finding.message


def test_what_is_there_is_fine_and_no_key_is_shown(home):
    """Prevents a complaint about vLLM where nobody asked for it, and a key on the screen."""
    model = make_model(home / "model")
    with LocalJudge() as judge:
        fine = found(
            policy={"model": str(model)},
            judge={"model": "local", "base_url": judge.url, "api_key_variable": "DOCTOR_KEY"},
        )
    assert not [each for each in fine.values() if each.missing and each.subject != "GPU"]
    assert "answered in" in fine["judge"].message
    assert "secret" not in "".join(each.message for each in fine.values())


def ask(home, judge, **more):
    settings = {"model": "local", "base_url": judge.url, "api_key_variable": "DOCTOR_KEY", **more}
    return found(
        ask=True,
        policy={"model": str(make_model(home / "model")), "max_new_tokens": 8},
        judge={**settings, "usd_per_million_prompt_tokens": 10.0},
    )


def test_asking_shows_the_judges_verdict_and_the_policys_answer(home):
    """Prevents a judge or a model that passes every check and whose replies are of no use."""
    with LocalJudge() as judge:
        told = ask(home, judge, reasons=True, max_tokens=77)
        (body,) = judge.bodies
    assert "it ranks 'Put it into boiling wat" in told["judge's answer"].message
    assert "1 request, 110 tokens, 0.001000 USD" in told["judge's answer"].message
    assert (body["max_tokens"], "response_format" in body) == (77, True)
    assert "(8 tokens in " in told["policy's answer"].message
    assert "cut at policy.max_new_tokens" in told["policy's answer"].message


def test_a_verdict_against_the_known_order_is_noted(home):
    """Prevents a judge that ranks from worst to best from passing as one that works."""

    def worst_first(answers):
        labels = [label for label, text in sorted(answers, key=lambda pair: len(pair[1]))]
        return '{"ranking": ["' + '", "'.join(labels) + '"]}'

    with LocalJudge(worst_first) as judge:
        told = ask(home, judge)["judge's answer"]
    assert told.level == "note"
    assert "it ranks 'I do not know.' >" in told.message


def test_a_reply_that_cannot_be_read_is_shown(home):
    with LocalJudge(lambda answers: "They are all fine.") as judge:
        told = ask(home, judge)["judge's answer"]
    assert told.missing
    assert "They are all fine." in told.message
    assert "2 requests" in told.message


def test_asking_stores_nothing(home):
    """Prevents a trial question from becoming a label, or a cost of a round."""
    from cyclealign.store import Store

    with LocalJudge() as judge:
        ask(home, judge)
    with Store.open() as store, store.engine.connect() as connection:
        for table in ("judge_call", "ranking", "candidate", "round"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
