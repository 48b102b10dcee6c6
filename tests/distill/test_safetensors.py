"""Weights are read from safetensors only, in every job that loads a model by transformers."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from cyclealign.distill.idcm.checkpoints import new_etm
from cyclealign.distill.idcm.config import ETMSettings
from cyclealign.distill.opd import student as opd
from cyclealign.distill.pld import model as classifier
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.quantidce import model as student
from cyclealign.distill.quantidce.config import EncoderSettings
from cyclealign.errors import DistillError

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 5}


@pytest.fixture(params=[BertModel, BertForSequenceClassification])
def pickled(tmp_path, request):
    """A folder whose weights are a pickle, which may run any code when it is read."""
    model = request.param(BertConfig(**SIZES))
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_pickle_is_refused(pickled):
    """Prevents a downloaded model from running code of its own as its weights are loaded."""
    with pytest.raises(DistillError, match="safetensors"):
        new_etm(ETMSettings(model=pickled), pickled, 0)
    with pytest.raises(DistillError, match="safetensors"):
        student.fresh(EncoderSettings(model=pickled), 0)
    with pytest.raises(DistillError, match="safetensors"):
        classifier.build(ModelSettings(model=pickled), ("a", "b"), True, 3, 0)
    with pytest.raises(DistillError, match="safetensors"):
        opd.model_of(opd.Source("student.model", pickled))
