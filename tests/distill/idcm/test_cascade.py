"""The cascade: what it computes, what goes through ETM, and that evaluation from stored window scores is the same."""

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


def scored(small):
    with torch.inference_mode():
        by_etm, mask = etm_scores(small.etm, *small.given)
        by_esm, _ = esm_scores(small.esm, *small.given)
    return evaluate.Scored(small.collection.test, small.pairs, by_etm, mask, {"esm": by_esm})


@pytest.mark.parametrize("k", [1, 3, 5])
def test_cascade_gives_what_evaluation_computes_from_stored_scores(small, k):
    """Prevents an evaluation of something other than what runs at inference."""
    found = Cascade(small.etm, small.esm)(*small.given, k)
    stored = scored(small)
    chosen = evaluate.among_best(stored.selections["esm"], stored.mask_NP, k)
    assert torch.allclose(found, small.etm.aggregate(stored.etm_NP, chosen), atol=1e-5)


@pytest.mark.parametrize("k", [1, 4])
def test_only_chosen_windows_reach_the_etm(small, k):
    """Prevents a cascade that is no faster because it scores everything and masks it afterwards."""
    rows = []
    hook = small.etm.encoder.register_forward_pre_hook(
        lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    Cascade(small.etm, small.esm)(*small.given, k)
    hook.remove()
    assert sum(rows) == sum(min(k, len(each)) for each in small.given[1])


def test_a_pair_scores_the_same_alone_and_among_others(small):
    """Prevents padding, packing or positions of one document from reaching another's score."""
    cascade = Cascade(small.etm, small.esm)
    together = cascade(*small.given, 2)
    alone = torch.cat([cascade([query], [each], 2) for query, each in zip(*small.given, strict=True)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_enough_windows_are_all_windows(small):
    cascade = Cascade(small.etm, small.esm)
    assert torch.allclose(cascade(*small.given, 99), cascade.every_window(*small.given), atol=1e-6)


def test_best_windows_count_and_missing_ones_are_zero():
    """Prevents -inf or a padded score in a document's sum."""
    aggregate = TopWindows(3)
    aggregate.weights_L.data = tensor([1.0, 0.5, 0.25])
    scores = tensor([[1.0, -4.0, 2.0, 3.0], [-2.0, 9.0, 9.0, 9.0]])
    mask = tensor([[True, True, True, True], [True, False, False, False]])
    assert aggregate(scores, mask).tolist() == [3 + 0.5 * 2 + 0.25, -2]
    assert aggregate(scores[:, :2], mask[:, :2]).tolist() == [1 - 0.5 * 4, -2]


def test_gradient_of_best_windows_alone_is_the_whole_gradient(small):
    """Prevents the shortcut of stage 2 from changing what is learnt."""
    pairs, weights = small.pairs[:2], list(small.etm.parameters())
    quick = train.document_scores(small.etm, small.texts, pairs)
    whole = small.etm.aggregate(*etm_scores(small.etm, *small.texts.pairs(pairs)))
    assert torch.allclose(quick, whole, atol=1e-6)
    gradients = [
        torch.autograd.grad((each * tensor([1.0, -2.0])).sum(), weights, allow_unused=True) for each in (quick, whole)
    ]
    for a, b in zip(*gradients, strict=True):
        assert a is None or torch.allclose(a, b, atol=1e-5)


def test_kernels_pool_the_terms_that_are_there():
    cosine = tensor([[[1.0, 0.5, 0.9]]])
    sums = kernel_sums(cosine, tensor([[True, True, False]]))[0, 0].tolist()
    expected = [sum(math.exp(-((c - mu) ** 2) / 0.02) for c in (1.0, 0.5)) for mu in CENTRES]
    assert sums == pytest.approx(expected, rel=1e-5)
    assert len(CENTRES) == 11


def test_esm_scores_by_the_formula(small):
    """Prevents a masked query term, or a padded window term, from entering the score."""
    query, document = small.given[0][0], small.given[1][0]
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
    """Prevents a tensor of a batch that stays on the CPU, in scores, in the cascade's last step and in a lesson."""
    etm = copy.deepcopy(small.etm).to(ELSEWHERE)
    esm = checkpoints.fresh_esm(etm, True, 0)
    with Accelerator():
        for scores, mask in (etm_scores(etm, *small.given), esm_scores(esm, *small.given)):
            assert (scores.device, mask.device) == (ELSEWHERE, ELSEWHERE)
        assert etm.aggregate(*etm_scores(etm, *small.given)).device == ELSEWHERE
        wanted = [(pair, torch.zeros(len(each))) for pair, each in zip(small.pairs, small.given[1], strict=True)]
        stage = ESMSettings(training=StageSettings(steps=1, batch=2))
        train.fit_selection(esm, small.texts, wanted, stage, "cross_entropy", 0, lambda done, of: None)
        with pytest.raises(MixedDevices):
            esm.head(torch.zeros(1, len(CENTRES)))


def test_modules_are_made_and_loaded_on_the_accelerator(small, tmp_path, monkeypatch):
    """Prevents an accelerator that stands by while the CPU scores windows."""
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    monkeypatch.setattr(checkpoints, "device", lambda: "meta")
    fresh, _ = checkpoints.fresh_etm(ETMSettings(), str(tmp_path), 0)
    for etm in (fresh, checkpoints.load_etm(tmp_path)[0]):
        modules = etm, checkpoints.fresh_esm(etm, False, 0)
        assert {weights.device for module in modules for weights in module.parameters()} == {ELSEWHERE}


def test_a_loss_that_is_no_number_ends_the_training(small):
    """Prevents a module of NaN that is trained to the end, and kept."""
    taught = [
        (pair, torch.full((len(each),), torch.nan)) for pair, each in zip(small.pairs, small.given[1], strict=True)
    ]
    stage = ESMSettings(training=StageSettings(steps=3, batch=2))
    esm = checkpoints.fresh_esm(small.etm, False, 0)
    with pytest.raises(DistillError, match="at step 1"):
        train.fit_selection(esm, small.texts, taught, stage, "mse", 0, lambda done, of: None)


def test_esm_does_not_move_the_etm(small):
    """Prevents stage 3 from changing the frozen teacher through the shared embedding layer."""
    scores, mask = esm_scores(small.esm, *small.given)
    scores[mask].sum().backward()
    assert all(weights.grad is None for weights in small.etm.parameters())
    assert not {id(each) for each in small.esm.parameters()} & {id(each) for each in small.etm.parameters()}
    small.esm.zero_grad(set_to_none=True)


@pytest.mark.parametrize("variant", [False, True])
def test_both_modules_come_back_from_their_folders(small, tmp_path, variant):
    """Prevents weights that are saved in part: head, weights of the best windows, either ESM variant."""
    small_esm: ESM = checkpoints.fresh_esm(small.etm, variant, 5)
    for name in ("etm", "esm"):
        (tmp_path / name).mkdir()
    checkpoints.save_etm(tmp_path / "etm", small.etm, small.tokenizer)
    checkpoints.save_esm(tmp_path / "esm", small_esm, variant)
    etm, _ = checkpoints.load_etm(tmp_path / "etm")
    again = Cascade(etm, checkpoints.load_esm(tmp_path / "esm", etm))
    assert torch.equal(again(*small.given, 2), Cascade(small.etm, small_esm)(*small.given, 2))


@pytest.mark.parametrize("pooling", ["mean", "match"])
def test_pooling_is_kept_and_leaves_out_padding(small, tmp_path, monkeypatch, pooling):
    """Prevents an ETM that was trained on one state and scores by another, and scores that depend on the batch."""
    first = small.etm.window_scores(*small.given).detach()
    monkeypatch.setattr(small.etm.encoder.config, "etm_pooling", pooling)
    other = small.etm.window_scores(*small.given)
    assert not torch.allclose(first, other)
    assert torch.allclose(small.etm.window_scores(*small.given, rows_at_once=1), other, atol=1e-5)
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    assert torch.allclose(checkpoints.load_etm(tmp_path)[0].window_scores(*small.given), other, atol=1e-6)


def test_precision_is_kept_and_changes_the_last_digits_only(small, tmp_path, monkeypatch):
    """Prevents a setting that changes nothing, and an ETM that is trained in one precision and scores in another."""
    whole = small.etm.window_scores(*small.given).detach()
    monkeypatch.setattr(small.etm.encoder.config, "etm_precision", "bfloat16")
    halved = small.etm.window_scores(*small.given)
    assert not torch.equal(whole, halved)
    assert torch.allclose(whole, halved, atol=0.02)
    assert halved.dtype == torch.float32
    checkpoints.save_etm(tmp_path, small.etm, small.tokenizer)
    assert torch.equal(checkpoints.load_etm(tmp_path)[0].window_scores(*small.given), halved)


def test_stages_lower_their_losses(small):
    """Prevents a stage that trains nothing."""
    stage = StageSettings(steps=25, batch=9, learning_rate=3e-3)
    stored = scored(small)
    lessons = [
        (pair, scores[mask]) for pair, scores, mask in zip(small.pairs, stored.etm_NP, stored.mask_NP, strict=True)
    ]
    esm = checkpoints.fresh_esm(small.etm, False, 0)
    losses = train.fit_selection(
        esm, small.texts, lessons, ESMSettings(training=stage), "ndcg2", 0, lambda done, of: None
    )
    assert losses[-1] < 0.9 * losses[0]
