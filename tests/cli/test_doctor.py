"""`cyclealign doctor`: it names what a config needs and this machine lacks, and shows no secret."""

import sys

import pytest

from cyclealign.cli.doctor import examine
from cyclealign.config import checked
from tests.support.tiny import make_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCTOR_KEY", "a-very-secret-key")
    return tmp_path


def found(**sections):
    return {each.subject: each for each in examine(checked(sections, "test"))}


def test_everything_that_is_missing_is_named_with_what_to_do(home):
    """Prevents a run that stops an hour later for want of a key or an environment."""
    lacking = found(
        policy={"kind": "vllm", "model": str(home / "nowhere")},
        engine={"python": str(home / "python")},
        judge={"kind": "openai", "api_key_variable": "DOCTOR_NO_KEY"},
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
    fine = found(
        policy={"model": str(model)},
        engine={"python": str(home / "python")},
        judge={"kind": "openai", "api_key_variable": "DOCTOR_KEY"},
    )
    assert not [each for each in fine.values() if each.missing and each.subject != "GPU"]
    assert "secret" not in "".join(each.message for each in fine.values())


def test_a_model_that_may_not_be_loaded_is_named(home):
    model = make_model(home / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "holds no *.safetensors" in found(policy={"model": str(model)})["model"].message
