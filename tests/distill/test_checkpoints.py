"""Trainings that go on from where they were."""

from cyclealign.distill.checkpoints import last_checkpoint


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
