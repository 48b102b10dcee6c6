"""Deployments of one's own configs: what the form shows, and that they survive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import BadConfig
from flows.server import own_deployments
from flows.server.environment import ServerConfig
from tests.support.paths import ROOT

CONFIG = """
experiment = "Mine-1"
rounds = 2

[judge]
model = "a-judge"
base_url = "http://127.0.0.1:9/v1"
temperature = "none"

[training]
learning_rate = 2e-5
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def server(prefect_server: str, tmp_path: Path) -> ServerConfig:
    return ServerConfig(prefect_server.removesuffix("/api"), tmp_path / "home", ROOT, external=True)


@pytest.fixture
def client(server: ServerConfig) -> Iterator[Any]:
    from flows.server.deploy import client_of, create_pool

    with client_of(server) as opened:
        create_pool(opened)
        yield opened


def test_the_form_shows_the_config_and_a_restart_keeps_deployment_and_schedules(
    client: Any, server: ServerConfig, config: Path
) -> None:
    """Prevents a form that shows other settings than the run takes, and a start that resets one's own deployment."""
    from flows.server.deploy import deploy

    assert own_deployments.keep(server.home, config, None) == "Mine-1"
    deploy(server, "Mine-1")
    mine = client.read_deployment_by_name("align/Mine-1")
    assert ExperimentConfig.model_validate(mine.parameters["config"]) == load_config(config)
    assert mine.parameters["config"]["judge"]["temperature"] == "none"  # left out, it would be 0
    assert mine.global_concurrency_limit is None
    path = f"/deployments/{mine.id}/schedules"
    client.request("POST", path, json=[{"schedule": {"interval": 86400.0}, "active": False}])
    config.write_text(CONFIG.replace("2e-5", "3e-5"))
    own_deployments.keep(server.home, config, None)
    assert deploy(server) == []
    again = client.read_deployment_by_name("align/Mine-1")
    assert (again.id, len(again.schedules)) == (mine.id, 1)
    assert again.parameters["config"]["training"]["learning_rate"] == 3e-5
    assert client.read_deployment_by_name("align/align").parameters == {}


def test_a_removed_deployment_is_deleted_on_the_next_occasion(client: Any, server: ServerConfig, config: Path) -> None:
    """Prevents a schedule that goes on after its deployment was removed while no server ran."""
    from prefect.exceptions import ObjectNotFound

    from flows.server.deploy import delete_removed, deploy

    own_deployments.keep(server.home, config, "gone")
    deploy(server, "gone")
    own_deployments.drop(server.home, "gone")
    assert own_deployments.names(server.home) == []
    delete_removed(client, server.home)
    with pytest.raises(ObjectNotFound):
        client.read_deployment_by_name("align/gone")
    with pytest.raises(BadConfig, match="no deployment 'gone'"):
        own_deployments.drop(server.home, "gone")


def test_a_config_that_cannot_be_read_any_more_stops_no_start(server: ServerConfig, config: Path) -> None:
    """Prevents an upgrade after which `cyclealign up` no longer starts, because of one old file."""
    own_deployments.keep(server.home, config, "fine")
    own_deployments.keep(server.home, config, "broken")
    (own_deployments.folder_of(server.home) / "broken.toml").write_text("no_such_setting = 1")
    file, warnings = own_deployments.file_with_own(server, ROOT / "prefect.yaml")
    assert "name: fine" in file.read_text()
    assert "name: broken" not in file.read_text()
    (warning,) = warnings
    assert "'broken' is left as it was" in warning
    assert "no_such_setting" in warning


@pytest.mark.parametrize("name", ["align", "demo", "a/b", "../up", ""])
def test_a_name_that_is_taken_or_no_name_is_refused(tmp_path: Path, config: Path, name: str) -> None:
    """Prevents one's own settings from replacing the defaults of `align`, and a file outside of its folder."""
    config.write_text(CONFIG.replace("Mine-1", "demo"))
    with pytest.raises(BadConfig):
        own_deployments.keep(tmp_path, config, name or None)
    assert own_deployments.names(tmp_path) == []


def test_a_schedule_without_settings_keeps_those_of_the_form_it_was_made_from(
    client: Any, server: ServerConfig
) -> None:
    """Prevents an upgrade that trains the demo's experiment with another loss, because the form's defaults changed."""
    from flows.server.deploy import deploy, keep_settings_of_schedules

    deploy(server)
    deployment = client.read_deployment_by_name("align/align")
    path = f"/deployments/{deployment.id}/schedules"
    given = {"config": {"experiment": "other"}}
    every = {"schedule": {"interval": 86400.0}, "active": False}
    made = client.request("POST", path, json=[every, {**every, "parameters": given}]).json()
    now = ExperimentConfig().model_dump()
    assert keep_settings_of_schedules(client, now) == 0
    changed = ExperimentConfig.model_validate({"training": {"objective": "pro"}}).model_dump()
    assert keep_settings_of_schedules(client, changed) == 1
    kept = {str(one.id): one for one in client.read_deployment_by_name("align/align").schedules}
    assert kept[made[0]["id"]].parameters["config"]["training"]["objective"] == "rrhf"
    assert kept[made[1]["id"]].parameters == given
    assert not kept[made[0]["id"]].active
    for one in made:
        client.request("DELETE", f"{path}/{one['id']}")


def test_the_command_keeps_lists_and_removes(command: Any, tmp_path: Path, config: Path) -> None:
    """Prevents a deployment that exists in the home and not in the UI, or the other way round."""
    code, output, errors = command("deploy", str(config), "--name", "by-command")
    assert code == 0, output + errors
    assert "/deployments" in output
    assert command("deploy")[1].split() == ["by-command"]
    assert "is removed" in command("deploy", "--remove", "by-command")[1]
    assert "No deployment of your own" in command("deploy")[1]
