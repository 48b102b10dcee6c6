"""Code that comes with a model is not run, in any job that loads a model by transformers."""

import io
import json

import pytest

from cyclealign.distill.cprd.config import DataSettings
from cyclealign.distill.cprd.preprocessing import pixels_of
from cyclealign.distill.cprd.student import load as dual_encoder
from cyclealign.distill.cprd.teacher_models import CrossEncoder
from cyclealign.distill.idcm.checkpoints import new_etm
from cyclealign.distill.idcm.config import ETMSettings
from cyclealign.distill.leaf.config import StudentSettings as LeafStudent
from cyclealign.distill.leaf.student import load_backbone
from cyclealign.distill.leaf.teacher_models import load_model
from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students.cat import load_cross_encoder
from cyclealign.distill.margin_mse.students.encoders import load_encoder
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.opd import student as opd
from cyclealign.distill.pld import model as classifier
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.quantidce import model as student
from cyclealign.distill.quantidce.config import EncoderSettings
from cyclealign.errors import DistillError

KINDS = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoModelForImageClassification")
FAMILY = {"family": "bert", "sizes": {"hidden_size": 8}}
LOADERS = {
    "opd": lambda model: opd.model_of(opd.Source("student.model", model)),
    "opd, a tokenizer": lambda model: opd.tokenizer_of(opd.Source("student.model", model)),
    "idcm": lambda model: new_etm(ETMSettings(model=model), model, 0),
    "quantidce": lambda model: student.fresh(EncoderSettings(model=model), 0),
    "quantidce, without layers": lambda model: student.pretrained(model),
    "pld, texts": lambda model: classifier.build(ModelSettings(model=model), ("a", "b"), True, 3, 0),
    "pld, images": lambda model: classifier.build(ModelSettings(model=model), ("a", "b"), False, 3, 0),
    "pld, a tokenizer": lambda model: classifier.build(
        ModelSettings(tokenizer=model, **FAMILY), ("a", "b"), True, 3, 0
    ),
    "cprd": lambda model: dual_encoder(model, DataSettings()),
    "cprd, pixels": lambda model: pixels_of(model, 8),
    "cprd, teacher": lambda model: CrossEncoder(model, 8),
    "margin-mse": lambda model: load_encoder(StudentSettings(kind="dot", model=model)),
    "margin-mse, teacher": lambda model: load_cross_encoder(model, 16),
    "leaf": lambda model: load_backbone(model, LeafStudent(backbone=model)),
    "leaf, teacher": lambda model: load_model(model),
}


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A folder whose model, tokenizer and image processor name code beside them, which would leave a file `ran`; and a
    person, or a pipe, that says yes to all questions.
    """
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    kinds = dict.fromkeys(KINDS, "own.Own")
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": kinds}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"auto_map": {"AutoImageProcessor": "own.Own"}}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    return folder


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_code_of_a_model_is_refused_unasked(load, own_code):
    """Prevents a downloaded model from running its code by a question that a pipe answers with yes, or that waits."""
    with pytest.raises(DistillError, match="requires its own code"):
        load(str(own_code))
    assert not (own_code.parent / "ran").exists()


def test_the_commit_of_a_model_is_read_without_its_code(own_code, monkeypatch):
    """Prevents a model of the hub from running its code before a job even begins."""
    cached = own_code.parent / "models--some--own"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("c0ffee")
    (cached / "snapshots").mkdir()
    own_code.rename(cached / "snapshots" / "c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cached.parent))
    assert model_identity("some/own").startswith("some/own@")
    assert not (cached.parent / "ran").exists()
