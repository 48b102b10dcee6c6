"""Two machines with one database and one folder of weights, under other paths: each continues what the other began."""

import os

import pytest

from cyclealign.loop.check_database import check_database
from cyclealign.store import Store
from cyclealign.store.database import URL_VARIABLE


@pytest.fixture
def machines(bench, monkeypatch, tmp_path):
    """Switch between two machines: the shared folder is mounted at another path on each."""
    if not os.environ.get(URL_VARIABLE):
        monkeypatch.setenv(URL_VARIABLE, f"sqlite:///{bench.home / 'home' / 'cyclealign.db'}")
    paths = {name: tmp_path / f"mount-{name}" for name in "AB"}

    def switch(name):
        for other in paths.values():
            if other.exists() and other != paths[name]:
                other.rename(paths[name])
        monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / f"home-{name}"))
        monkeypatch.setenv("CYCLEALIGN_ADAPTERS", str(paths[name]))

    switch("A")
    return switch


def test_a_round_starts_on_weights_that_another_machine_trained(bench, machines):
    """Prevents a worker from failing, or from starting anew, because another one's path does not exist here."""
    bench.set("acceptance", min_win_rate=0.0)
    for machine in "ABA":
        machines(machine)
        code, output = bench.run()
        assert code == 0, output
        with Store.open() as store:
            assert [check for check in check_database(store) if check.problems] == []
    with Store.open() as store:
        parents = [store.rounds.get("bench", number).parent for number in (1, 2, 3)]
    assert parents[0] is None
    assert parents[2].parent_id == parents[1].id
    assert "mount-A" in parents[1].path
