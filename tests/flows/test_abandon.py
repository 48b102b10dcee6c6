"""The flow that gives up a round from the UI."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from cyclealign.store import Store
from flows.abandon import abandon
from tests.support.store_values import opened


def test_the_flow_closes_the_open_round_and_shows_it_in_the_history(prefect_server, tmp_path, monkeypatch):
    """Prevents a round that can be given up on the command line only."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    with Store.open() as store:
        opened(store, owner="host/1/1.0/killed", lease_seconds=-1)
        assert abandon("trial", "too slow") == 1
        (row,) = store.history.summaries("trial")
    assert (row["verdict"], row["reason"]) == ("abandoned", "too slow")
    # Other tests leave artifacts on the same server.
    key = ArtifactFilter(key=ArtifactFilterKey(any_=["trial-history"]))
    with get_client(sync_client=True) as client:
        tables = [str(artifact.data) for artifact in client.read_artifacts(artifact_filter=key)]
    assert any("abandoned" in table for table in tables), tables
