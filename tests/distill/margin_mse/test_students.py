"""Students of all kinds: scores of single pairs, saving and loading, training."""

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

from cyclealign.distill.margin_mse.student import on_device
from cyclealign.distill.margin_mse.students.registry import KINDS, build_student, load_student, save_student
from cyclealign.errors import DistillError
from tests.distill.elsewhere import ELSEWHERE, Accelerator, MixedDevices
from tests.distill.margin_mse.conftest import PASSAGES, QUERIES

pytestmark = pytest.mark.slow

PAIRS = [(query, passage) for query in QUERIES.values() for passage in PASSAGES.values()]


@pytest.fixture(params=KINDS)
def student(request, student_settings):
    return build_student(student_settings(request.param), list(PASSAGES.values()), seed=0)


def test_a_score_does_not_depend_on_its_neighbours(student):
    """Prevents padding from affecting scores: alone, in a batch of longer texts, and with other passages."""
    alone = np.concatenate([student.score([pair]) for pair in PAIRS])
    together = student.score(PAIRS, batch=5)
    assert together == pytest.approx(alone, abs=2e-5)
    features = student.prepare(list(QUERIES.values()), list(PASSAGES.values()) * 3)
    assert student(features).detach().numpy().ravel() == pytest.approx(alone, abs=2e-5)


def test_a_saved_student_scores_the_same(student, tmp_path):
    """Prevents a part from not being saved: head, kernels, pooling, number of layers."""
    with torch.no_grad():
        for weights in student.parameters():
            weights.add_(0.01)
    save_student(student, tmp_path / "student")
    loaded = load_student(tmp_path / "student")
    assert loaded.settings == student.settings
    assert loaded.score(PAIRS) == pytest.approx(student.score(PAIRS), abs=2e-5)
    assert not list((tmp_path / "student").rglob("*.bin"))


def test_every_kind_can_learn_one_triple(student):
    """Prevents a part without a gradient."""
    optimizer = torch.optim.Adam(student.rate_groups(1e-3, 1e-2))
    features = student.prepare([QUERIES["q1"]], [PASSAGES["p4"], PASSAGES["p1"]])
    before = None
    for _ in range(30):
        scores = student(features)
        loss = (scores[0, 0] - scores[0, 1] - 3).square()
        before = before or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < before / 4


def test_features_follow_the_student_to_its_device(student):
    """Prevents a tensor from staying on the CPU."""
    features = student.prepare(list(QUERIES.values()), list(PASSAGES.values())[:3])
    with Accelerator():
        scores = student.to(ELSEWHERE)(on_device(features, ELSEWHERE))
        assert (scores.device, scores.shape) == (ELSEWHERE, (3, 1))
        with pytest.raises(MixedDevices):
            student(features)


def test_a_student_is_built_and_loaded_on_the_gpu(student_settings, tmp_path, monkeypatch):
    """Prevents a GPU from idling while the CPU ranks."""
    save_student(build_student(student_settings("tk"), list(PASSAGES.values()), seed=0), tmp_path / "student")
    monkeypatch.setattr("cyclealign.distill.margin_mse.students.registry.device", lambda: "meta")
    built = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    for student in (built, load_student(tmp_path / "student")):
        assert {weights.device for weights in student.parameters()} == {ELSEWHERE}


def test_the_same_seed_gives_the_same_student(student_settings):
    """Prevents initial weights that differ between arms or machines."""
    for kind in ("prett", "tk", "cat"):
        first, second, other = (
            build_student(student_settings(kind), list(PASSAGES.values()), seed).score(PAIRS) for seed in (0, 0, 1)
        )
        assert (first == second).all()
        assert (first != other).any()


def test_a_bi_encoder_loads_in_sentence_transformers(student_settings, tmp_path):
    """Prevents a folder that lacks the similarity, the pooling or the two maximum lengths."""
    student = build_student(student_settings("dot", query_tokens=4, passage_tokens=6), [], seed=0)
    save_student(student, tmp_path / "student")
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    scores = loaded.similarity(
        loaded.encode_query(list(QUERIES.values())), loaded.encode_document(list(PASSAGES.values()))
    )
    assert loaded.similarity_fn_name == "dot"
    assert scores.numpy().ravel() == pytest.approx(student.score(PAIRS), abs=1e-4)
    long = "bird " * 30
    assert loaded.preprocess([long], task="query")["input_ids"].shape[1] == 4
    assert loaded.preprocess([long], task="document")["input_ids"].shape[1] == 6


def test_a_dot_product_is_not_a_cosine(student_settings):
    """Prevents normalised vectors, whose scores cannot reach a margin of twelve."""
    student = build_student(student_settings("dot"), [], seed=0)
    norms = np.linalg.norm(student.passage_vectors(list(PASSAGES.values())), axis=1)
    assert (abs(norms - 1) > 0.5).all()


def test_late_interaction_is_a_sum_of_best_matches(student_settings, tmp_path):
    """Prevents maxima over padding, and mask tokens that do not count; computed by hand from the library's vectors."""
    student = build_student(student_settings("colbert"), [], seed=0)
    save_student(student, tmp_path / "student")
    loaded = MultiVectorEncoder(str(tmp_path / "student"), device="cpu")
    query = loaded.encode_query(QUERIES["q1"])
    passage = loaded.encode_document(PASSAGES["p2"])
    assert query.shape == (8 + 3, 6)
    assert not torch.allclose(query.norm(dim=1), torch.ones(len(query)))
    expected = (query @ passage.T).max(dim=1).values.sum().item()
    assert student.score([(QUERIES["q1"], PASSAGES["p2"])])[0] == pytest.approx(expected, abs=1e-4)


def test_a_cross_encoder_is_the_librarys_raw_score(student_settings, tmp_path):
    """Prevents a sigmoid on the scores: margins of probabilities are below one."""
    student = build_student(student_settings("cat"), [], seed=0)
    save_student(student, tmp_path / "student")
    loaded = CrossEncoder(str(tmp_path / "student"), device="cpu")
    raw = loaded.predict(PAIRS, activation_fn=torch.nn.Identity())
    assert student.score(PAIRS) == pytest.approx(raw, abs=1e-5)


def test_a_split_students_passage_states_do_not_depend_on_the_query(student_settings):
    """Prevents passage states that cannot be precomputed, and a join without effect."""
    student = build_student(student_settings("prett"), [], seed=0).eval()
    with torch.no_grad():
        short, long = (student.prepare([query], [PASSAGES["p1"]]) for query in (QUERIES["q1"], QUERIES["q3"]))
        first, second = (student.first_layers(features["passages"], 8) for features in (short, long))
        assert torch.equal(first, second)
        assert student(short).item() != pytest.approx(student(long).item(), abs=1e-6)


def test_a_split_after_all_layers_equals_the_encoder(student_settings):
    """Prevents masks or positions that differ from the encoder's own."""
    student = build_student(student_settings("prett", split=2), [], seed=0).eval()
    features = student.prepare(list(QUERIES.values()), list(QUERIES.values()))
    with torch.no_grad():
        own = student.first_layers(features["queries"], 0)
        expected = student.encoder(**features["queries"]).last_hidden_state
    mask = features["queries"]["attention_mask"].bool()
    assert torch.allclose(own[mask], expected[mask], atol=1e-5)


def test_tk_reads_word_vectors_from_a_file(student_settings, tmp_path):
    """Prevents vectors of other words, and a malformed file that is read in part."""
    path = tmp_path / "vectors.txt"
    path.write_text("cat 1 0 0 0\nbird 0 1 0 0\nzebra 9 9 9 9\n", encoding="utf-8")
    student = build_student(student_settings("tk", embeddings=str(path)), list(PASSAGES.values()), seed=0)
    assert student.words == ["cat", "bird"]
    assert student.embedding.weight[student.numbers["cat"]].tolist() == [1, 0, 0, 0]
    path.write_text("cat 1 0 0 0\nbird 0 1\n", encoding="utf-8")
    with pytest.raises(DistillError, match="line 2"):
        build_student(student_settings("tk", embeddings=str(path)), list(PASSAGES.values()), seed=0)


def test_tks_kernels_sum_over_unmasked_words(student_settings):
    """Prevents padding in the kernels' sums: the golden value has cosines 1 and 0.5, and 0.9 at padding."""
    student = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    with torch.no_grad():
        student.sum.weight.fill_(0)
        student.sum.weight[0, 0] = 1  # the kernel at 1 alone: log(exp(0) + exp(-0.5^2 / 0.02))
        score = student.pooled(torch.tensor([[[1.0, 0.5, 0.9]]]), torch.ones(1, 1), torch.tensor([[1, 1, 0]]))
    assert score.item() == pytest.approx(float(np.log(1 + np.exp(-12.5))), abs=1e-6)


def test_unsuitable_settings_are_refused(student_settings, tmp_path):
    """Prevents errors of libraries that do not name the setting."""
    with pytest.raises(DistillError, match="cannot be loaded"):
        build_student(student_settings("dot", model=str(tmp_path / "nowhere")), [], seed=0)
    with pytest.raises(DistillError, match="layers"):
        build_student(student_settings("dot", layers=9), [], seed=0)
    with pytest.raises(DistillError, match="split"):
        build_student(student_settings("prett", split=9), [], seed=0)
    with pytest.raises(DistillError, match="positions"):
        build_student(student_settings("prett", passage_tokens=600), [], seed=0)
    with pytest.raises(DistillError, match="does not hold a student"):
        load_student(tmp_path)
