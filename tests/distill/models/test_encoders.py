"""Identity of models, and the check on losses."""

import pytest
import torch
from transformers import BertConfig

from cyclealign.distill.models.encoders import model_identity, require_finite
from cyclealign.errors import DistillError


def test_a_loss_that_is_not_finite_is_refused():
    """Prevents a student of NaN from being trained to the end and saved."""
    assert require_finite(torch.tensor(1.5), 3).item() == 1.5
    for value in (float("nan"), float("inf")):
        with pytest.raises(DistillError, match="at step 3"):
            require_finite(torch.tensor(value), 3)


def test_the_identity_of_a_folder_is_its_content_and_of_a_name_its_commit(tmp_path):
    """Prevents labels of a model from being reused for another one of the same name."""
    BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    first = model_identity(str(tmp_path))
    BertConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    assert model_identity(str(tmp_path)) != first
    assert model_identity("nobody/has-this", "abc") == "nobody/has-this@abc"
