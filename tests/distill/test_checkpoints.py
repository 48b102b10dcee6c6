"""Trainings that go on from where they were."""

from cyclealign.distill.checkpoints import last_checkpoint
from cyclealign.distill.training_state import Checkpoints


def test_a_checkpoint_that_was_cut_off_gives_way_to_the_one_before(tmp_path):
    """Prevents a kill at the wrong moment from ending the training at every later start."""
    assert last_checkpoint(tmp_path / "none") is None
    for step, state in ((10, '{"global_step": 10}'), (20, '{"global_st'), (30, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-10"]


def test_a_state_that_was_cut_off_is_passed_over(tmp_path):
    """Prevents a crash of the machine from ending a job at every later start."""
    checkpoints = Checkpoints(tmp_path / "steps", 5)
    assert checkpoints.load() is None
    checkpoints.save(5, {"losses": [1.0]})
    whole = tmp_path / "steps" / "step-5.pt"
    (tmp_path / "steps" / "step-10.pt").write_bytes(whole.read_bytes()[:100])
    assert checkpoints.load() == {"step": 5, "losses": [1.0]}
    checkpoints.save(15, {"losses": [2.0]})
    assert [file.name for file in (tmp_path / "steps").iterdir()] == ["step-15.pt"]
    assert [step for step in range(1, 11) if checkpoints.due(step)] == [5, 10]
    checkpoints.remove()
    assert not (tmp_path / "steps").exists()
    assert not Checkpoints(None, 1).due(1)
    assert not Checkpoints(tmp_path, 0).due(1)
