"""Housekeeping as a flow: the form, the page, and the schedule that is there to be switched on."""

from contextlib import suppress

from prefect.artifacts import Artifact

from cyclealign.files import HOME_VARIABLE
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.store import Store
from flows.housekeeping import housekeeping
from flows.server.environment import ServerConfig
from tests.housekeeping.homes import round_with_weights
from tests.support.paths import ROOT


def test_the_flow_lists_and_then_deletes(prefect_server, tmp_path, monkeypatch):
    """Prevents a schedule that deletes something else than the dry run has shown."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with Store.open() as store:
        paths = [round_with_weights(store, "rolled_back", False, 50) for _ in range(3)]
        assert housekeeping() == 1000
        assert all(path.exists() for path in paths)
        page = Artifact.get("housekeeping").data
        assert "Dry run: 1 path" in page
        assert f"| {paths[0]} | its round was not accepted |" in page
        assert housekeeping(HousekeepingRules(dry_run=False)) == 1000
        assert [path.exists() for path in paths] == [False, True, True]


def test_its_schedule_is_made_once_and_switched_off(prefect_server, tmp_path):
    """Prevents a first start that deletes files, and a schedule that comes back after the user has deleted it."""
    from prefect.exceptions import ObjectNotFound
    from rich.console import Console

    from flows.server.deploy import HOUSEKEEPING, client_of, create_pool
    from flows.server.up import register

    server = ServerConfig(prefect_server.removesuffix("/api"), tmp_path / "home", ROOT, external=True)
    with client_of(server) as client:
        create_pool(client)
        with suppress(ObjectNotFound):  # of another test on the same server
            client.delete_deployment(client.read_deployment_by_name(HOUSEKEEPING).id)
        register(server, Console(quiet=True))
        made = client.read_deployment_by_name(HOUSEKEEPING)
        (schedule,) = made.schedules
        assert (schedule.active, schedule.parameters) == (False, {"rules": {"dry_run": False}})
        register(server, Console(quiet=True))
        assert [each.id for each in client.read_deployment_by_name(HOUSEKEEPING).schedules] == [schedule.id]
        client.request("DELETE", f"/deployments/{made.id}/schedules/{schedule.id}")
        register(server, Console(quiet=True))
        assert client.read_deployment_by_name(HOUSEKEEPING).schedules == []
