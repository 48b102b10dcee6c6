"""The IDCM job through the command line, with minimal settings."""

import json

import pytest

from cyclealign.distill.idcm import checkpoints
from cyclealign.store import Store

pytestmark = pytest.mark.slow

TINY = """
[data]
source = "demo"
[data.demo]
passages = 8
train_queries = 2
test_queries = 2
candidates = 3
min_passages = 3
max_passages = 6
[etm]
model = "demo"
hidden = 16
layers = 1
passages = { steps = 2, batch = 4 }
documents = { steps = 1, batch = 2 }
[esm]
losses = ["ndcg2", "cross_entropy"]
k = 2
training = { steps = 2, batch = 4 }
[evaluation]
ks = [1, 2]
batches = [1]
repeats = 1
min_windows = 2
lengths = [1, 2]
"""


def test_a_finished_run_is_reused(command, tmp_path, monkeypatch):
    """Prevents a second training with the same settings, and runs that lose their modules or measures."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    code, output, _ = command("distill", "run", "idcm", str(path), "--json")
    assert code == 0
    run = json.loads(output)
    arms = {measure["arm"] for measure in run["measures"]}
    assert {"all windows", "ESM ndcg2, k = 2", "ESM cross_entropy, k = 1", "random, k = 2", "tf-idf, k = 1"} <= arms
    with Store.open() as store:
        (row,) = store.distillations.runs("idcm")
    assert row["student_path"].rpartition("/")[2].startswith("esm-ndcg2-")
    monkeypatch.setattr(checkpoints, "new_esm", lambda *_: pytest.fail("trained again"))
    assert json.loads(command("distill", "run", "idcm", str(path), "--json")[1])["id"] == run["id"]


@pytest.mark.parametrize(
    ("setting", "advised"),
    [
        ("min_windows = 30", "Lower evaluation.min_windows"),
        ("min_windows = 2\nlengths = [30, 40]", "Lower evaluation.lengths"),
    ],
)
def test_documents_too_short_to_be_timed_are_refused_before_training(command, tmp_path, monkeypatch, setting, advised):
    """Prevents three stages of training for a run whose last step fails."""
    from cyclealign.distill.idcm import train

    path = tmp_path / "tiny.toml"
    path.write_text(TINY.replace("min_windows = 2\nlengths = [1, 2]", setting))
    monkeypatch.setattr(train, "fit_passages", lambda *_: pytest.fail("trained first"))
    code, output, _ = command("distill", "run", "idcm", str(path))
    assert code == 1
    assert advised in " ".join(output.split())


def test_an_interrupted_run_keeps_its_stages(command, tmp_path, monkeypatch):
    """Prevents stages 1 and 2 from being repeated if stage 3 fails."""
    from cyclealign.distill.idcm import train

    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    with monkeypatch.context() as broken:
        broken.setattr(train, "fit_selection", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command("distill", "run", "idcm", str(path))[0] == 130
    monkeypatch.setattr(train, "fit_passages", lambda *_: pytest.fail("stage 1 again"))
    monkeypatch.setattr(train, "fit_documents", lambda *_: pytest.fail("stage 2 again"))
    assert command("distill", "run", "idcm", str(path), "--json")[0] == 0
