"""The cascade: its scores, the windows that ETM reads, and equality with evaluation from stored window scores."""

import copy
import math

import pytest
import torch
from torch import tensor

from cyclealign.distill.idcm import checkpoints, evaluate, train
from cyclealign.distill.idcm.config import ESMSettings, ETMSettings, StageSettings
from cyclealign.distill.idcm.esm import CENTRES, ESM, kernel_sums
from cyclealign.distill.idcm.etm import TopWindows
from cyclealign.distill.idcm.predict import Cascade, esm_scores, etm_scores
from cyclealign.errors import DistillError
from tests.distill.elsewhere import ELSEWHERE, Accelerator, MixedDevices


def window_scores(small):
    with torch.inference_mode():
        by_etm, mask = etm_scores(small.etm, *small.inputs)
        by_esm, _ = esm_scores(small.esm, *small.inputs)
    return evaluate.WindowScores(small.collection.test, small.pairs, by_etm, mask, {"esm": by_esm})


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_cascade_equals_evaluation_from_stored_scores(small, k):
    """Prevents an evaluation that differs from inference."""
    documents = Cascade(small.etm, small.esm)(*small.inputs, k)
    stored = window_scores(small)
    chosen = evaluate.best_windows(stored.selections["esm"], stored.mask_NP, k)
    assert torch.allclose(documents, small.etm.aggregate(stored.etm_NP, chosen), atol=1e-5)


@pytest.mark.parametrize("k", [1, 4])
def test_only_chosen_windows_reach_the_etm(small, k):
    """Prevents a cascade that scores all windows and masks them afterwards, which saves no time."""
    rows = []
    hook = small.etm.encoder.register_forward_pre_hook(
        lambda _, __, features: rows.append(len(features["input_ids"])), with_kwargs=True
    )
    Cascade(small.etm, small.esm)(*small.inputs, k)
    hook.remove()
    assert sum(rows) == sum(min(k, len(document)) for document in small.inputs[1])


def test_a_pair_scores_the_same_alone_and_among_others(small):
    """Prevents padding, packing or positions of one document from reaching another's score."""
    cascade = Cascade(small.etm, small.esm)
    together = cascade(*small.inputs, 2)
    alone = torch.cat([cascade([query], [document], 2) for query, document in zip(*small.inputs, strict=True)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_large_k_scores_all_windows(small):
    """Prevents windows lost or repeated if k is above the number of windows."""
    cascade = Cascade(small.etm, small.esm)
    assert torch.allclose(cascade(*small.inputs, 99), cascade.every_window(*small.inputs), atol=1e-6)


def test_only_the_best_windows_count_and_missing_ones_are_zero():
    """Prevents -inf or a padded score in a document's sum."""
    aggregate = TopWindows(3)
    aggregate.weights_L.data = tensor([1.0, 0.5, 0.25])
    scores = tensor([[1.0, -4.0, 2.0, 3.0], [-2.0, 9.0, 9.0, 9.0]])
    mask = tensor([[True, True, True, True], [True, False, False, False]])
    assert aggregate(scores, mask).tolist() == [3 + 0.5 * 2 + 0.25, -2]
    assert aggregate(scores[:, :2], mask[:, :2]).tolist() == [1 - 0.5 * 4, -2]


def test_the_gradient_of_the_best_windows_is_the_full_gradient(small):
    """Prevents the shortcut of stage 2 from changing the training."""
    pairs, weights = small.pairs[:2], list(small.etm.parameters())
    quick = train.document_scores(small.etm, small.texts, pairs)
    full = small.etm.aggregate(*etm_scores(small.etm, *small.texts.pairs(pairs)))
    assert torch.allclose(quick, full, atol=1e-6)
    gradients = [
        torch.autograd.grad((scores * tensor([1.0, -2.0])).sum(), weights, allow_unused=True)
        for scores in (quick, full)
    ]
    for a, b in zip(*gradients, strict=True):
        assert a is None or torch.allclose(a, b, atol=1e-5)


def test_kernels_sum_over_unmasked_terms():
    """Prevents padding from adding to the kernels' sums."""
    cosine = tensor([[[1.0, 0.5, 0.9]]])
    sums = kernel_sums(cosine, tensor([[True, True, False]]))[0, 0].tolist()
    expected = [sum(math.exp(-((c - mu) ** 2) / 0.02) for c in (1.0, 0.5)) for mu in CENTRES]
    assert sums == pytest.approx(expected, rel=1e-5)
    assert len(CENTRES) == 11


def test_esm_scores_follow_the_formula(small):
    """Prevents a masked query term, or a padded window term, from entering the score."""
    query, document = small.inputs[0][0], small.inputs[1][0]
    alone = [esm_scores(small.esm, [query], [document])[0][0]]
    longer = torch.cat([query, query])
    among = esm_scores(small.esm, [query, longer], [document, document])[0][0]
    assert torch.allclose(alone[0], among, atol=1e-5)
    a, b = (
        small.esm.ngrams(query[None], torch.ones(1, len(query), dtype=torch.bool)),
        small.esm.ngrams(document.ids_PT[:1], document.mask_PT[:1]),
    )
    cosine = (a[0] @ b[0].T)[:, document.mask_PT[0]]
    features = [
        sum(math.log(max(1e-4, sum(math.exp(-((c - mu) ** 2) / 0.02) for c in row))) for row in cosine.tolist())
        for mu in CENTRES
    ]
    by_hand = (tensor(features) @ small.esm.head.weight[0] + small.esm.head.bias[0]).item()
    assert alone[0][0].item() == pytest.approx(by_hand, abs=1e-3)


def test_batches_follow_the_modules_to_their_device(small):
    """Prevents a batch's tensor from staying on the CPU, in scores, in the cascade's last step and in training."""
    etm = copy.deepcopy(small.etm).to(ELSEWHERE)
    esm = checkpoints.new_esm(etm, True, 0)
    with Accelerator():
        for scores, mask in (etm_scores(etm, *small.inputs), esm_scores(esm, *small.inputs)):
            assert (scores.device, mask.device) == (ELSEWHERE, ELSEWHERE)
        assert etm.aggregate(*etm_scores(etm, *small.inputs)).device == ELSEWHERE
        labels = [(pair, torch.zeros(len(windows))) for pair, windows in zip(small.pairs, small.inputs[1], strict=True)]
        stage = ESMSettings(training=StageSettings(steps=1, batch=2))
        train.fit_selection(esm, small.texts, labels, stage, "cross_entropy", 0, lambda done, total: None)
        with pytest.raises(MixedDevices):
            esm.head(torch.zeros(1, len(CENTRES)))


def test_modules_are_created_and_loaded_on_the_gpu(small, tmp_path, monkeypatch):
    """Prevents a GPU from idling while the CPU scores windows."""
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    monkeypatch.setattr(checkpoints, "device", lambda: "meta")
    new, _ = checkpoints.new_etm(ETMSettings(), str(tmp_path), 0)
    for etm in (new, checkpoints.load_etm(tmp_path)[0]):
        modules = etm, checkpoints.new_esm(etm, False, 0)
        assert {weights.device for module in modules for weights in module.parameters()} == {ELSEWHERE}


def test_a_loss_that_is_not_finite_ends_the_training(small):
    """Prevents a module of NaN from being trained to the end and saved."""
    labels = [
        (pair, torch.full((len(windows),), torch.nan))
        for pair, windows in zip(small.pairs, small.inputs[1], strict=True)
    ]
    stage = ESMSettings(training=StageSettings(steps=3, batch=2))
    esm = checkpoints.new_esm(small.etm, False, 0)
    with pytest.raises(DistillError, match="at step 1"):
        train.fit_selection(esm, small.texts, labels, stage, "mse", 0, lambda done, total: None)


def test_training_esm_does_not_change_etm(small):
    """Prevents stage 3 from changing the frozen teacher through the shared embedding layer."""
    scores, mask = esm_scores(small.esm, *small.inputs)
    scores[mask].sum().backward()
    assert all(weights.grad is None for weights in small.etm.parameters())
    assert not {id(weights) for weights in small.esm.parameters()} & {id(weights) for weights in small.etm.parameters()}
    small.esm.zero_grad(set_to_none=True)


@pytest.mark.parametrize("variant", [False, True])
def test_both_modules_load_from_their_folders(small, tmp_path, variant):
    """Prevents weights that are not saved: head, top-window weights, either ESM variant."""
    small_esm: ESM = checkpoints.new_esm(small.etm, variant, 5)
    for name in ("etm", "esm"):
        (tmp_path / name).mkdir()
    checkpoints.save_etm(tmp_path / "etm", small.etm, small.tokenizer)
    checkpoints.save_esm(tmp_path / "esm", small_esm, variant)
    etm, _ = checkpoints.load_etm(tmp_path / "etm")
    loaded = Cascade(etm, checkpoints.load_esm(tmp_path / "esm", etm))
    assert torch.equal(loaded(*small.inputs, 2), Cascade(small.etm, small_esm)(*small.inputs, 2))


@pytest.mark.parametrize("pooling", ["mean", "match"])
def test_pooling_is_saved_and_ignores_padding(small, tmp_path, monkeypatch, pooling):
    """Prevents an ETM that is trained with one pooling and scores with another, and scores that depend on the batch."""
    first = small.etm.window_scores(*small.inputs).detach()
    monkeypatch.setattr(small.etm.encoder.config, "etm_pooling", pooling)
    other = small.etm.window_scores(*small.inputs)
    assert not torch.allclose(first, other)
    assert torch.allclose(small.etm.window_scores(*small.inputs, rows_at_once=1), other, atol=1e-5)
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    assert torch.allclose(checkpoints.load_etm(tmp_path)[0].window_scores(*small.inputs), other, atol=1e-6)


def test_precision_is_saved_and_changes_only_the_last_digits(small, tmp_path, monkeypatch):
    """Prevents a setting without effect, and an ETM that is trained in one precision and scores in another."""
    float32 = small.etm.window_scores(*small.inputs).detach()
    monkeypatch.setattr(small.etm.encoder.config, "etm_precision", "bfloat16")
    bfloat16 = small.etm.window_scores(*small.inputs)
    assert not torch.equal(float32, bfloat16)
    assert torch.allclose(float32, bfloat16, atol=0.02)
    assert bfloat16.dtype == torch.float32
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    assert torch.equal(checkpoints.load_etm(tmp_path)[0].window_scores(*small.inputs), bfloat16)


def test_stages_lower_their_losses(small):
    """Prevents a stage that trains nothing."""
    stage = StageSettings(steps=25, batch=9, learning_rate=3e-3)
    stored = window_scores(small)
    labels = [
        (pair, scores[mask]) for pair, scores, mask in zip(small.pairs, stored.etm_NP, stored.mask_NP, strict=True)
    ]
    esm = checkpoints.new_esm(small.etm, False, 0)
    losses = train.fit_selection(
        esm, small.texts, labels, ESMSettings(training=stage), "ndcg2", 0, lambda done, total: None
    )
    assert losses[-1] < 0.9 * losses[0]
