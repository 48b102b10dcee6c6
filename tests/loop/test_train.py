"""Training in a round: it resumes with corrected settings, and no folder of weights is ever replaced."""

import re
import threading
from pathlib import Path

import pytest

from cyclealign.errors import LeaseLost
from cyclealign.files import hash_of_folder
from cyclealign.loop import lease
from cyclealign.loop.lease import KeptLease
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store
from cyclealign.training import launcher, self_check, worker


def detail(number: int = 1) -> dict:
    with Store.open() as store:
        return store.history.detail("bench", number)


def test_training_resumes_at_training_once_its_settings_are_corrected(bench, monkeypatch):
    """Prevents answers and labels from being paid for again after each try, and a correction that is ignored."""
    bad = bench.home / "accelerate.yaml"
    bad.write_text("num_processes: many\nno_such_key: 1\n")
    bench.set("training", process="own", accelerate_config=str(bad))
    code, output = bench.run()
    assert code == 1
    assert "Training failed: " in output
    assert "`distributed_type` must be specified" in output
    assert "begins at training" in output
    log = Path(re.search(r"The log is (\S+\.log)", output).group(1))
    assert log.is_relative_to(bench.home / "home" / "logs")
    assert "`distributed_type` must be specified" in log.read_text()

    bench.set("training", accelerate_config=str(bench.home / "gone.yaml"))
    assert f"there is no file {bench.home / 'gone.yaml'}" in bench.run()[1]

    def out_of_memory(*_: object) -> float:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    bench.set("training", process="same", accelerate_config=None)
    del bench.settings["training"]["accelerate_config"]
    with monkeypatch.context() as patch:
        patch.setattr(worker, "fit", out_of_memory)
        code, output = bench.run()
    assert "CUDA out of memory" in output
    assert "lower training.tokens_at_once" in output

    asked, counts = list(bench.judge.bodies), []
    answer = TransformersPolicy.answer
    monkeypatch.setattr(
        TransformersPolicy,
        "answer",
        lambda self, prompts, count, seed: counts.append(count) or answer(self, prompts, count, seed),
    )
    bench.set("training", prompts_per_step=1)
    monkeypatch.setattr(self_check, "is_multimodal", lambda config: True)
    code, output = bench.run()
    assert code == 0, output
    # A training that is slow says why.
    assert "with its prompt: the model is multimodal" in detail()["notes"]["shared prompt"]
    assert "training.prompts_per_step: 2 -> 1" in output
    assert 4 not in counts  # four answers to a training prompt; a held-out one gets one
    assert max(bench.judge.answered.values()) == 1
    assert len(bench.judge.bodies) > len(asked)  # the evaluation
    assert detail()["settings"]["training"]["prompts_per_step"] == 1
    assert len([call for call in detail()["changes"] if call["setting"] == "training.prompts_per_step"]) == 1


def test_a_run_that_lost_its_lease_leaves_the_weights_of_the_other_alone(bench, monkeypatch):
    """Prevents the adapter of a finished round from being overwritten, after which no next round can be opened."""
    bench.set("acceptance", min_win_rate=0.0)
    train, reached, go_on = launcher.train, threading.Event(), threading.Event()
    results: list[object] = []

    def stopped_in_training(*arguments: object) -> float:
        """The first run is stopped here until the second one has finished the round."""
        if not reached.is_set():
            reached.set()
            assert go_on.wait(300)
        return train(*arguments)

    monkeypatch.setattr(launcher, "train", stopped_in_training)
    from cyclealign.config import load_config
    from cyclealign.loop.align import align

    config = load_config(bench.write())

    def first() -> None:
        try:
            results.append(align(config))
        except LeaseLost as error:
            results.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert reached.wait(300)
    for module in ("cyclealign.loop.open_round.may_be_alive", "cyclealign.loop.lease.may_be_alive"):
        monkeypatch.setattr(module, lambda owner: False)
    assert align(config) == 1
    path = Path(detail()["adapter"]["path"])
    before = hash_of_folder(path)
    go_on.set()
    thread.join()
    assert isinstance(results[0], LeaseLost)
    assert hash_of_folder(path) == before
    assert [folder.name for folder in path.parent.iterdir()] == [path.name]
    assert path.name == f"round-1-{detail()['adapter']['content_hash'][:12]}"
    assert align(config.model_copy(update={"until": 2})) == 1
    assert detail(2)["parent_adapter"] == detail()["adapter"]["id"]


def test_training_ends_when_the_lease_is_lost(bench, monkeypatch):
    """Prevents a training that holds the GPU for a round which another run has taken over."""
    from cyclealign.loop import train as step

    calls: list[float] = []

    def lost(seconds: float) -> None:
        calls.append(seconds)
        raise LeaseLost("taken over")

    class Session:
        lease = KeptLease(lost)

    report = step.progress_while_leased(Session())
    report(1, 10)
    assert calls == []
    started = lease.clock()
    monkeypatch.setattr(lease, "clock", lambda: started + lease.LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        report(2, 10)
    assert calls == [lease.LEASE_SECONDS]
