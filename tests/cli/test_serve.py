"""`cyclealign serve`: it does not start without a key, or without accepted weights."""

import pytest

from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.store_values import adapter_for, opened


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Return a function that runs `cyclealign serve trial` after a round with this verdict."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VLLM_API_KEY", raising=False)

    def run(verdict: str) -> tuple[int, str]:
        with Store.open() as store:
            round_ = opened(store)
            store.adapters.add(round_.id, adapter_for(round_), "a-model")
            store.rounds.close(round_.id, "me", verdict, "")
        code, output, errors = run_command(capsys, "serve", "trial")
        return code, " ".join((output + errors).split())

    return run


def test_a_server_without_a_key_is_not_started(ran):
    """Prevents a model that every program of the machine may ask, and a key in a log or a file."""
    code, said = ran("accepted")
    assert (code, "Set VLLM_API_KEY in the environment" in said) == (1, True)


def test_weights_that_were_not_accepted_are_not_served(ran):
    code, said = ran("rolled_back")
    assert (code, "No round of 'trial' was accepted with trained weights" in said) == (1, True)
