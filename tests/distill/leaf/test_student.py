"""The student and the asymmetric model: same vectors after saving, prompts on the right side, training that resumes."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf import demo_models, student
from cyclealign.distill.leaf.config import StudentSettings, TrainingSettings
from cyclealign.distill.leaf.demo_data import World
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import principal_axes, rotated
from cyclealign.distill.leaf.teacher import ModelTeacher, load_model
from cyclealign.distill.leaf.train import Schedule
from cyclealign.errors import DistillError

TEXTS = [text for pair in World(5).pairs(60) for text in pair]
FAST = TrainingSettings(batch=16, epochs=2, cycles=1, learning_rate=5e-3, last_learning_rate=1e-3)


@pytest.fixture
def labels(teacher):
    return encode(teacher, TEXTS, "document", 32)


def new(backbone, seed=0, prompt="", **settings):
    chosen = StudentSettings(backbone=str(backbone), max_tokens=32, **settings)
    return student.new_student(str(backbone), chosen, 16, True, prompt, seed)


def test_a_student_has_the_teachers_size_and_length(backbone):
    made = new(backbone)
    vectors = encode(made, TEXTS[:5], "query", 2)
    assert vectors.shape == (5, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(encode(new(backbone), TEXTS[:5], "query", 5), encode(new(backbone), TEXTS[:5], "query", 5))


def test_vectors_stand_in_the_order_of_the_texts(teacher):
    """Prevents the sorting by length, which saves padding, from moving vectors to other texts."""
    together = encode(teacher, TEXTS[:40], "document", 8)
    alone = np.stack([teacher.encode_document(text) for text in TEXTS[:40]])
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_the_asymmetric_model_loads_again_with_both_branches(backbone, teacher, labels, tmp_path, turned):
    """Prevents a saved model whose document branch is not the teacher (turned as the student learnt it)."""
    made = new(backbone, prompt="? ")
    axes = principal_axes(labels) if turned else None
    student.save(student.asymmetric(made, teacher, axes), tmp_path / "model")
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    expected = rotated(labels, axes) if turned else labels
    assert np.allclose(loaded.encode_document(TEXTS), expected, atol=1e-5)
    assert np.allclose(loaded.encode_query(TEXTS), made.encode_query(TEXTS), atol=1e-5)
    assert not np.allclose(loaded.encode_query(TEXTS), made.encode_document(TEXTS), atol=1e-2)
    assert {path.suffix for path in (tmp_path / "model").rglob("*.*")} <= {".json", ".safetensors", ".md"}


def test_the_teachers_own_document_prompt_goes_into_the_asymmetric_model(backbone, teacher, tmp_path):
    """Prevents documents from being embedded without the words that the labels were made with."""
    teacher.prompts = {"query": "", "passage": "? "}
    student.save(student.asymmetric(new(backbone), teacher, None), tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert np.allclose(loaded.encode_document(TEXTS), teacher.encode_document(TEXTS), atol=1e-5)
    assert np.allclose(teacher.encode_document("word"), teacher.encode("? word"), atol=1e-6)


def test_the_instruction_stands_before_queries_only(backbone, teacher_folder):
    from cyclealign.distill.leaf.config import TeacherSettings

    prompted = ModelTeacher(str(teacher_folder), TeacherSettings(model=str(teacher_folder), query_prompt="? "))
    plain = ModelTeacher(str(teacher_folder), TeacherSettings(model=str(teacher_folder)))
    assert prompted.identity != plain.identity
    query, document = (prompted.vectors(["word"], kind, lambda *_: None) for kind in ("query", "document"))
    assert np.allclose(query, plain.vectors(["? word"], "document", lambda *_: None), atol=1e-6)
    assert np.allclose(document, plain.vectors(["word"], "query", lambda *_: None), atol=1e-6)
    assert student.training_texts(new(backbone, prompt="? "), ["q"], ["d"]) == ["? q", "d"]


def test_layers_are_cut_and_never_made_up(teacher_folder, backbone):
    """Prevents a wish for more layers than there are from giving untrained ones silently."""
    with pytest.raises(DistillError, match=r"student\.layers is 3, but .* has 1 layers"):
        new(backbone, layers=3)
    assert len(new(backbone, layers=1)[0].auto_model.encoder.layer) == 1
    with pytest.raises(DistillError, match="No encoder"):
        new("absent/model")
    with pytest.raises(DistillError, match="No embedding model"):
        load_model("absent/model")


def test_without_dropout_training_sees_the_whole_student(teacher_folder, tmp_path):
    """Prevents a switch that reaches the hidden layers but not the attention."""
    import json
    import shutil

    shutil.copytree(teacher_folder, tmp_path / "dropping")
    path = tmp_path / "dropping" / "config.json"
    dropping = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    path.write_text(json.dumps({**json.loads(path.read_text()), **dropping}))

    def twice(**settings):
        made = new(tmp_path / "dropping", **settings).train()
        features = made.preprocess(TEXTS[:4])
        return [made(dict(features))["sentence_embedding"] for _ in range(2)]

    assert torch.equal(*twice(dropout=False))
    assert not torch.equal(*twice())


def test_the_least_squares_start_finds_a_linear_teacher(backbone):
    """Prevents a transposed or shifted start: a teacher that is a linear map of the backbone is met at once."""
    source = new(backbone, seed=1)
    targets = encode(source, TEXTS, "document", 32)
    made = new(backbone, seed=2)
    before = (encode(made, TEXTS, "document", 32) * targets).sum(1).mean()
    lengths = SentenceTransformer(modules=list(source)[:3], device="cpu").encode(TEXTS)
    student.start_dense(made, TEXTS, lengths, at_most=1_000, seed=0, ridge=1e-9)
    after = (encode(made, TEXTS, "document", 32) * targets).sum(1).mean()
    assert after > 0.99 > before


def test_a_loss_that_is_no_number_ends_the_training(backbone, labels, tmp_path):
    """Prevents a student of NaN that is trained to the end, and kept."""
    made = new(backbone)
    with pytest.raises(DistillError, match="at step 1"):
        student.fit(made, TEXTS, labels + np.nan, FAST, 0, tmp_path, lambda *_: None)


def test_the_rate_falls_in_each_cycle_and_starts_again():
    """Prevents one long decay, or a rate that never reaches its end."""
    schedule = Schedule(batch=10, epochs_per_cycle=2, cycles=3, first_rate=1e-4, last_rate=1e-5, weight_decay=0.0)
    rates = [schedule.share(step, rows=45) * 1e-4 for step in range(30)]
    assert rates[:10] == rates[10:20] == rates[20:]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9] == pytest.approx(1e-5)
    assert np.allclose(np.diff(rates[:10]), -1e-5)


def test_training_comes_nearer_and_frozen_words_stay(backbone, labels, tmp_path):
    made = new(backbone, train_word_vectors=False)
    words = made[0].auto_model.get_input_embeddings().weight.clone()
    dense = made[2].linear.weight.clone()
    before = np.linalg.norm(encode(made, TEXTS, "document", 32) - labels, axis=1).mean()
    student.fit(made, TEXTS, labels, FAST, 0, tmp_path / "checkpoints", lambda *_: None)
    after = np.linalg.norm(encode(made, TEXTS, "document", 32) - labels, axis=1).mean()
    assert after < 0.8 * before
    assert torch.equal(made[0].auto_model.get_input_embeddings().weight, words)
    assert not torch.equal(made[2].linear.weight, dense)


def test_a_stopped_training_goes_on_and_ends_where_an_undisturbed_one_does(backbone, labels, tmp_path):
    """Prevents a resumed run from starting anew, or with another order of texts or another rate."""
    undisturbed, stopped, resumed = (new(backbone) for _ in range(3))
    student.fit(undisturbed, TEXTS, labels, FAST, 0, tmp_path / "one", lambda *_: None)

    def stop(done, of):
        if done > of // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        student.fit(stopped, TEXTS, labels, FAST, 0, tmp_path / "two", stop)
    steps = []
    student.fit(resumed, TEXTS, labels, FAST, 0, tmp_path / "two", lambda done, of: steps.append(done))
    assert steps == list(range(9, 17))
    for ours, theirs in zip(resumed.parameters(), undisturbed.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_demo_teacher_of_0_1_0_is_taken(tmp_path):
    """Prevents the demo's teacher, and with it all labels, from being made anew after an upgrade."""
    kept = tmp_path / "leaf-demo-teacher-3b07b58e03dfe7809024c61a"
    kept.mkdir()
    assert demo_models.demo_teacher(tmp_path) == kept
