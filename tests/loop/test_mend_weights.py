"""Damaged weights are no dead end: they are trained again from the stored round."""

import json
import shutil
from pathlib import Path

from cyclealign.loop.check_database import check_database
from cyclealign.policy.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from cyclealign.store import Store
from cyclealign.training import launcher


def detail(number: int) -> dict:
    with Store.open() as store:
        return store.history.detail("bench", number)


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / ADAPTER_WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / ADAPTER_WEIGHTS).write_bytes(content)


def double_the_scale(folder: Path) -> None:
    config = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps({**config, "lora_alpha": 2 * config["lora_alpha"]}))


def test_damaged_weights_are_trained_again_with_the_same_result(bench):
    """Prevents an experiment that ends for ever with one bit on a disk, and rounds on weights of another scale."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    for number, damage in enumerate((flip_a_bit, double_the_scale, shutil.rmtree), start=1):
        before = detail(number)["adapter"]
        if number == 2:
            shutil.rmtree(detail(1)["adapter"]["path"])  # the parent of the damaged weights as well
        damage(Path(before["path"]))
        code, output = bench.run()
        assert code == 0, output
        assert f"weights of round {number} in" in output
        after = detail(number)
        assert after["adapter"] == before
        assert "same result" in after["notes"]["weights"]
        assert detail(number + 1)["parent_adapter"] == before["id"]
    with Store.open() as store:
        assert [check.problems for check in check_database(store) if check.problems] == []
    assert bench.run()[0] == 0
    assert "weights" not in detail(4)["notes"]


def test_weights_that_come_out_otherwise_are_recorded_as_such(bench, monkeypatch):
    """Prevents other weights under the hash of those on which a round's figures were measured."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    before, train = detail(1)["adapter"], launcher.train

    def elsewhere(job, folder, *others):
        loss = train(job, folder, *others)
        flip_a_bit(folder)
        return loss

    flip_a_bit(Path(before["path"]))
    monkeypatch.setattr(launcher, "train", elsewhere)
    assert bench.run()[0] == 0
    after = detail(1)
    assert after["adapter"]["id"] == before["id"]
    assert after["adapter"]["content_hash"] != before["content_hash"]
    assert "not bit for bit" in after["notes"]["weights"]
    with Store.open() as store:
        assert [check.problems for check in check_database(store) if check.problems] == []


def test_what_cannot_be_trained_again_is_said_with_the_cause(bench):
    """Prevents an error of the training that does not say whose weights it was for."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    shutil.rmtree(detail(1)["adapter"]["path"])
    bench.query("UPDATE agreement SET weight = 0")
    code, output = bench.run()
    assert code == 1
    assert "PolicyError: The weights of round 1 in" in output
    assert "There is nothing to learn from" in output
