"""The student and the asymmetric model: vectors after saving, prompts of each side, training that resumes."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf import demo_models, student, train
from cyclealign.distill.leaf.config import StudentSettings, TrainingSettings
from cyclealign.distill.leaf.demo_data import DemoTexts
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import principal_axes, rotated
from cyclealign.distill.leaf.teacher_models import ModelTeacher, load_model
from cyclealign.errors import DistillError

pytestmark = pytest.mark.slow

TEXTS = [text for pair in DemoTexts(5).pairs(60) for text in pair]
FAST = TrainingSettings(batch=16, epochs=2, cycles=1, learning_rate=5e-3, last_learning_rate=1e-3)


@pytest.fixture
def labels(teacher):
    return encode(teacher, TEXTS, "document", 32)


def new(backbone, seed=0, prompt="", **settings):
    chosen = StudentSettings(backbone=str(backbone), max_tokens=32, **settings)
    return student.new_student(str(backbone), chosen, 16, True, prompt, seed)


def test_a_student_has_the_teachers_size_and_unit_length(backbone):
    """Prevents vectors that cannot be compared with the teacher's, and results that depend on the batch size."""
    model = new(backbone)
    vectors = encode(model, TEXTS[:5], "query", 2)
    assert vectors.shape == (5, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(encode(new(backbone), TEXTS[:5], "query", 5), encode(new(backbone), TEXTS[:5], "query", 5))


def test_vectors_are_in_the_order_of_the_texts(teacher):
    """Prevents sorting by length, which saves padding, from assigning vectors to other texts."""
    together = encode(teacher, TEXTS[:40], "document", 8)
    alone = np.stack([teacher.encode_document(text) for text in TEXTS[:40]])
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("rotate", [False, True])
def test_the_asymmetric_model_loads_with_both_branches(backbone, teacher, labels, tmp_path, rotate):
    """Prevents a saved model whose document branch is not the teacher, rotated as the student learned it."""
    model = new(backbone, prompt="? ")
    axes = principal_axes(labels) if rotate else None
    student.save(student.asymmetric(model, teacher, axes), tmp_path / "model")
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    expected = rotated(labels, axes) if rotate else labels
    assert np.allclose(loaded.encode_document(TEXTS), expected, atol=1e-5)
    assert np.allclose(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-5)
    assert not np.allclose(loaded.encode_query(TEXTS), model.encode_document(TEXTS), atol=1e-2)
    assert {path.suffix for path in (tmp_path / "model").rglob("*.*")} <= {".json", ".safetensors", ".md"}


def test_the_asymmetric_model_keeps_the_teachers_document_prompt(backbone, teacher, tmp_path):
    """Prevents documents from being encoded without the prompt that the labels were computed with."""
    teacher.prompts = {"query": "", "passage": "? "}
    student.save(student.asymmetric(new(backbone), teacher, None), tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert np.allclose(loaded.encode_document(TEXTS), teacher.encode_document(TEXTS), atol=1e-5)
    assert np.allclose(teacher.encode_document("word"), teacher.encode("? word"), atol=1e-6)


def test_the_instruction_is_the_prefix_of_queries_only(backbone, teacher_folder):
    """Prevents documents encoded as queries, and labels of another instruction from being reused."""
    from cyclealign.distill.leaf.config import TeacherSettings

    prompted = ModelTeacher(str(teacher_folder), TeacherSettings(model=str(teacher_folder), query_prompt="? "))
    plain = ModelTeacher(str(teacher_folder), TeacherSettings(model=str(teacher_folder)))
    assert prompted.identity != plain.identity
    query, document = (prompted.vectors(["word"], kind, lambda *_: None) for kind in ("query", "document"))
    assert np.allclose(query, plain.vectors(["? word"], "document", lambda *_: None), atol=1e-6)
    assert np.allclose(document, plain.vectors(["word"], "query", lambda *_: None), atol=1e-6)
    assert student.training_texts(new(backbone, prompt="? "), ["q"], ["d"]) == ["? q", "d"]


def test_layers_are_dropped_and_never_invented(teacher_folder, backbone):
    """Prevents a setting above the number of layers from adding untrained ones silently."""
    with pytest.raises(DistillError, match=r"student\.layers is 3, but .* has 1 layers"):
        new(backbone, layers=3)
    assert len(new(backbone, layers=1)[0].auto_model.encoder.layer) == 1
    with pytest.raises(DistillError, match="The encoder 'absent/model' could not be loaded"):
        new("absent/model")
    with pytest.raises(DistillError, match="The embedding model 'absent/model' could not"):
        load_model("absent/model")


def test_without_dropout_training_is_deterministic(teacher_folder, tmp_path):
    """Prevents a setting that reaches the hidden layers but not attention."""
    import json
    import shutil

    shutil.copytree(teacher_folder, tmp_path / "dropping")
    path = tmp_path / "dropping" / "config.json"
    dropping = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    path.write_text(json.dumps({**json.loads(path.read_text()), **dropping}))

    def twice(**settings):
        model = new(tmp_path / "dropping", **settings).train()
        features = model.preprocess(TEXTS[:4])
        return [model(dict(features))["sentence_embedding"] for _ in range(2)]

    assert torch.equal(*twice(dropout=False))
    assert not torch.equal(*twice())


def test_the_least_squares_initialization_finds_a_linear_teacher(backbone):
    """Prevents a transposed or shifted map: a teacher that is linear in the backbone is matched at once."""
    source = new(backbone, seed=1)
    targets = encode(source, TEXTS, "document", 32)
    model = new(backbone, seed=2)
    before = (encode(model, TEXTS, "document", 32) * targets).sum(1).mean()
    lengths = SentenceTransformer(modules=list(source)[:3], device="cpu").encode(TEXTS)
    student.initialize_dense(model, TEXTS, lengths, max_texts=1_000, seed=0, ridge=1e-9)
    after = (encode(model, TEXTS, "document", 32) * targets).sum(1).mean()
    assert after > 0.99 > before


def test_a_loss_that_is_not_finite_ends_the_training(backbone, labels, tmp_path):
    """Prevents a student of NaN from being trained to the end and saved."""
    model = new(backbone)
    with pytest.raises(DistillError, match="at step 1"):
        train.fit(model, TEXTS, labels + np.nan, FAST, 0, tmp_path, lambda *_: None)


def test_the_learning_rate_decays_in_each_cycle_and_restarts():
    """Prevents one long decay, or a rate that never reaches the last one."""
    settings = TrainingSettings(batch=10, epochs=2, cycles=3, learning_rate=1e-4, last_learning_rate=1e-5)
    rates = [train.rate_share(settings, step, rows=45) * 1e-4 for step in range(30)]
    assert rates[:10] == rates[10:20] == rates[20:]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9] == pytest.approx(1e-5)
    assert np.allclose(np.diff(rates[:10]), -1e-5)


def test_training_reduces_the_distance_and_keeps_frozen_word_vectors(backbone, labels, tmp_path):
    """Prevents a training that updates nothing, and one that updates what is frozen."""
    model = new(backbone, train_word_vectors=False)
    words = model[0].auto_model.get_input_embeddings().weight.clone()
    dense = model[2].linear.weight.clone()
    before = np.linalg.norm(encode(model, TEXTS, "document", 32) - labels, axis=1).mean()
    train.fit(model, TEXTS, labels, FAST, 0, tmp_path / "checkpoints", lambda *_: None)
    after = np.linalg.norm(encode(model, TEXTS, "document", 32) - labels, axis=1).mean()
    assert after < 0.8 * before
    assert torch.equal(model[0].auto_model.get_input_embeddings().weight, words)
    assert not torch.equal(model[2].linear.weight, dense)


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(backbone, labels, tmp_path):
    """Prevents a resumed run from restarting, or from using another order of texts or another rate."""
    uninterrupted, interrupted, resumed = (new(backbone) for _ in range(3))
    train.fit(uninterrupted, TEXTS, labels, FAST, 0, tmp_path / "one", lambda *_: None)

    def stop(done, of):
        if done > of // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit(interrupted, TEXTS, labels, FAST, 0, tmp_path / "two", stop)
    steps = []
    train.fit(resumed, TEXTS, labels, FAST, 0, tmp_path / "two", lambda done, of: steps.append(done))
    assert steps == list(range(9, 17))
    for ours, theirs in zip(resumed.parameters(), uninterrupted.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_demo_teacher_of_0_1_0_is_reused(tmp_path):
    """Prevents the demo teacher, and with it all labels, from being computed anew after an upgrade."""
    legacy_folder = tmp_path / "leaf-demo-teacher-3b07b58e03dfe7809024c61a"
    legacy_folder.mkdir()
    assert demo_models.demo_teacher(tmp_path) == legacy_folder
