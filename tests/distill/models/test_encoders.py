"""What the training of every student shares."""

import pytest
import torch
from transformers import BertConfig

from cyclealign.distill.models.encoders import checked, identity
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
