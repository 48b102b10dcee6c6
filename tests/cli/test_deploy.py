"""`cyclealign deploy` without a running server."""

import pytest

from tests.support.experiment import run_command
from tests.support.paths import PROMPTS


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def test_a_removed_deployment_is_not_said_to_be_shown(home, capsys):
    """Prevents "is removed; the next `cyclealign up` shows it", which says that it will still be there."""
    config = home / "mine.toml"
    config.write_text(f'experiment = "mine"\ntemplates = "{PROMPTS}"\n')
    code, output, errors = run_command(capsys, "deploy", str(config))
    assert (code, "the next `cyclealign up` shows it" in " ".join(output.split())) == (0, True), output + errors
    output = " ".join(run_command(capsys, "deploy", "--remove", "mine")[1].split())
    assert output == "Deployment 'mine' is removed; the next `cyclealign up` takes it off the server."


def test_paths_that_hold_in_this_folder_alone_are_named(home, capsys, monkeypatch):
    """Prevents a deployment whose every run ends with "There is no folder ./model"."""
    monkeypatch.chdir(home)
    (home / "model").mkdir()
    config = home / "mine.toml"
    config.write_text('experiment = "mine"\n[policy]\nmodel = "./model"\n')
    output = " ".join(run_command(capsys, "deploy", "mine.toml")[1].split())
    assert output.endswith("write absolute ones if that is not this folder: policy.model = './model'.")
    config.write_text(f'experiment = "mine"\n[policy]\nmodel = "{home}/model"\n')
    assert "absolute" not in run_command(capsys, "deploy", "mine.toml")[1]
