"""Settings: every example loads, every mistake is named, and nothing heavy is imported for it."""

import runpy
import subprocess
import sys

import pytest

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.distill.registry import JOBS
from cyclealign.errors import BadConfig
from tests.support.paths import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "flows" / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_loads(path):
    """Prevents an example that the documentation shows from being refused."""
    job = JOBS.get(path.stem.removesuffix("-demo"))
    assert load_config(path).experiment if job is None else job.config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experimnt = 'x'", r"run\.toml: unknown setting 'experimnt'\. Did you mean 'experiment'\?"),
        ("[judge]\nmodle = 'x'", r"run\.toml: unknown setting 'judge\.modle'\. Did you mean 'judge\.model'\?"),
        ("[judgee]\nmodel = 'x'", r"unknown setting 'judgee'\. Did you mean 'judge'\?"),
        ("learning_rate = 1e-4", r"unknown setting 'learning_rate'\. Did you mean 'training\.learning_rate'\?"),
        ("[policy]\nlora_rank = 4", r"unknown setting 'policy\.lora_rank'\. Did you mean 'training\.lora_rank'\?"),
        ("[policy]\nwarp = 4", r"unknown setting 'policy\.warp'\. See docs/configuration\.md"),
        ("[policy]\nanswers = 1", r"run\.toml: 'policy\.answers': .*greater than or equal to 2"),
        ("[training]\nobjective = 'ppo'", r"run\.toml: 'training\.objective': .*'rrhf', 'pro'.* or 'ipo'"),
        ("[judge]\napi_key_variable = 'sk-123-abc'", "the name of the variable"),
        ("experiment = '../x'", r"run\.toml: 'experiment'"),
        ("[training]\nobjective = 'dpo'\nweight = 'agreement'", "DPO"),
        ("= 3", r"run\.toml: not a TOML file"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message):
        load_config(path)


def test_a_key_given_as_the_variables_name_is_not_repeated(tmp_path):
    """Prevents a key that was pasted into the wrong field from reaching a terminal or a log."""
    path = tmp_path / "run.toml"
    path.write_text("[judge]\napi_key_variable = 'sk-very-secret'")
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("headers", ["'Bearer sk-very-secret'", "{X-Key = ['sk-very-secret']}"])
def test_a_key_in_a_header_of_the_wrong_type_is_not_repeated(tmp_path, headers):
    """Prevents a key that was pasted as a header from reaching a terminal or a log."""
    path = tmp_path / "run.toml"
    path.write_text(f"[judge]\nmodel = 'a-judge'\nextra_headers = {headers}")
    with pytest.raises(BadConfig, match=r"judge\.extra_headers") as caught:
        load_config(path)
    assert "very-secret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadConfig, match=r"none\.toml: cannot be read"):
        load_config(tmp_path / "none.toml")


def test_the_page_of_settings_is_up_to_date():
    """Prevents documentation of settings that are not there any more."""
    for name, made in runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))["pages"]().items():
        assert (ROOT / "docs" / name).read_text() == made


def test_reading_settings_imports_nothing_heavy():
    """Prevents a form or a command line that takes ten seconds to appear."""
    script = "import sys, cyclealign.cli.prompts; print([m for m in ('torch', 'trl', 'prefect') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_settings_survive_the_store():
    """Prevents a resumed round from running under other settings than it was opened with."""
    config = ExperimentConfig(experiment="x")
    assert ExperimentConfig.model_validate(config.model_dump(mode="json")) == config
