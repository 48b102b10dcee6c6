"""`cyclealign run`: a config that cannot succeed is refused before Prefect starts."""

from contextlib import contextmanager

import pytest

from cyclealign.loop.lease import hold_experiment, owner_name
from cyclealign.loop.preflight import check
from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.local_judge import LocalJudge
from tests.support.paths import PROMPTS


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("flows.server.ephemeral.use_prefect_server", no_server)
    check._ready.clear()
    return tmp_path


@contextmanager
def no_server(entry):
    raise AssertionError("Prefect was started")
    yield


def test_a_missing_model_is_found_before_prefect_starts(home, capsys):
    """Prevents an error of a second from taking a minute."""
    path = home / "run.toml"
    path.write_text(f'templates = "{PROMPTS}"\n[policy]\nmodel = "models/nowhere"\n')
    code, output, _ = run_command(capsys, "run", str(path))
    assert code == 1
    assert "NotReady: This run cannot succeed. Nothing was generated." in output
    assert "- model: There is no folder models/nowhere." in output


def test_settings_without_effect_are_said_once(home, capsys):
    """Prevents a setting that is lost on the way from the file to the notice, and one that is named twice."""
    path = home / "run.toml"
    path.write_text(f'templates = "{PROMPTS}"\n[judge]\ngroup_size = 5\n[policy]\nmodel = "models/nowhere"\n')
    output = run_command(capsys, "run", str(path), "--rounds", "2")[1]
    assert output.count("judge.group_size has no effect") == 1


def test_a_second_run_is_refused_before_the_judge_is_asked(home, capsys):
    """Prevents a second start from a wait of a minute, and a paid request, before it says who is at work."""
    path = home / "run.toml"
    with LocalJudge() as judge:
        path.write_text(
            f'experiment = "mine"\ntemplates = "{PROMPTS}"\n[judge]\nmodel = "local"\nbase_url = "{judge.url}"\n'
        )
        with Store.open() as store, hold_experiment(store, "mine", owner_name("first"), "align-mine"):
            code, output, _ = run_command(capsys, "run", str(path))
        assert code == 1
        assert "ExperimentBusy: Run 'align-mine'" in output
        assert judge.pings == []
