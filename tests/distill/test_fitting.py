"""What the training of every student shares."""

import pytest
import torch
from transformers import BertConfig

from cyclealign.distill.fitting import checked, identity, last_checkpoint
from cyclealign.errors import DistillError


def test_a_loss_that_is_no_number_stops_the_training():
    """Prevents a student of NaN that is trained to the end, and kept."""
    assert checked(torch.tensor(1.5), 3).item() == 1.5
    for value in (float("nan"), float("inf")):
        with pytest.raises(DistillError, match="at step 3"):
            checked(torch.tensor(value), 3)


def test_a_folder_is_known_by_its_content_and_a_name_by_its_commit(tmp_path):
    """Prevents labels of one model that are taken for those of another one under the same name."""
    BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    first = identity(str(tmp_path))
    BertConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    assert identity(str(tmp_path)) != first
    assert identity("nobody/has-this", "abc") == "nobody/has-this@abc"


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
