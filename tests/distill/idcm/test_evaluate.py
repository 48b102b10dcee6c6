"""Effectiveness, computed by hand on two queries, and time measurements."""

import dataclasses
import math

import pytest
import torch
from torch import tensor

from cyclealign.distill.idcm import evaluate, latency
from cyclealign.distill.idcm.data import JudgedQuery
from cyclealign.distill.idcm.etm import TopWindows
from cyclealign.distill.idcm.predict import Cascade
from cyclealign.distill.idcm.tokenized import Pair
from cyclealign.errors import DistillError
from cyclealign.records.distillation import Curve


def two_queries():
    judged = (JudgedQuery("a", ("x", "y"), {"x": 1}), JudgedQuery("b", ("x", "y"), {"y": 1}))
    pairs = [Pair(q, d) for q in "ab" for d in "xy"]
    etm = [tensor(row) for row in ([0.0, 5.0], [1.0], [3.0, 0.0], [0.0, 9.0])]
    first = torch.zeros(4, 2)  # equal scores select the first window
    return evaluate.WindowScores.of(judged, pairs, etm, {"first": first})


def test_k_windows_change_the_ranking():
    """Prevents metrics of the wrong windows: all windows rank both relevant documents first, the first one second."""
    scores, aggregate = two_queries(), TopWindows(3)
    all_windows = evaluate.values_by_query(scores, aggregate, scores.mask_NP)
    assert all_windows["MRR@10"].tolist() == [1, 1]
    one = evaluate.of_selection(scores, aggregate, "first", 1)
    assert one["MRR@10"].tolist() == [0.5, 0.5]
    assert evaluate.recall_of_best(scores, "first", 1).tolist() == [0, 1, 1, 0]
    second = torch.tensor([[0.0, 1.0]]).expand(4, 2)
    scores = dataclasses.replace(scores, selections={"second": second, **scores.selections})
    values = {(measure.arm, measure.name): measure.value for measure in evaluate.measures(scores, aggregate, (1, 2))}
    assert values["first, k = 1", "share of all windows' nDCG@10"] == pytest.approx(0.6309, abs=1e-4)
    assert values["first, k = 2", "share of all windows' nDCG@10"] == 1
    assert values["first, k = 2", "second above it, nDCG@10"] == 0
    gain = values["second, k = 1", "nDCG@10"] - values["first, k = 1", "nDCG@10"]
    assert values["first, k = 1", "second above it, nDCG@10"] == pytest.approx(gain)
    assert gain != 0


def test_missing_candidates_lower_the_metrics_and_grades_count():
    """Prevents metrics above trec_eval's: queries without a hit or documents missing from the run that are skipped."""
    judged = (JudgedQuery("a", ("x", "y"), {"x": 1, "y": 3, "elsewhere": 2}), JudgedQuery("b", (), {"y": 1}))
    pairs = [Pair("a", "x"), Pair("a", "y")]
    scores = evaluate.WindowScores.of(judged, pairs, [tensor([2.0]), tensor([1.0])], {})
    values = evaluate.values_by_query(scores, TopWindows(3), scores.mask_NP)
    gained, best = 1 + 3 / math.log2(3), 3 + 2 / math.log2(3) + 1 / 2
    assert values["nDCG@10"].tolist() == [pytest.approx(gained / best, abs=1e-4), 0]


def test_padded_windows_are_never_chosen():
    """Prevents padding, whose score of 0 may be the highest, from taking the place of a window."""
    scores, mask = tensor([[-5.0, 0.0]]), tensor([[True, False]])
    assert evaluate.best_windows(scores, mask, 2).tolist() == [[True, False]]


def test_timed_calls_alternate():
    """Prevents one call from being timed while the machine is busier than for the other."""
    order = []
    latency.side_by_side({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4)
    assert "".join(order) == "aaabbb" + "abab" * 2


def test_times_are_per_pair_and_complete(small):
    """Prevents times per batch, and a missing arm."""
    timings = latency.time_pairs(Cascade(small.etm, small.esm), *small.inputs, (1, 2), 1)
    rows = {(measure.arm, measure.name) for measure in latency.measures([timings], "ESM ndcg2")}
    assert ("ESM ndcg2, k = 2", "times faster, 9 at once") in rows
    assert timings.modelled_ms(2) == pytest.approx(timings.esm_ms + 2 * timings.all_ms / timings.windows)


def test_only_long_documents_are_timed(small):
    """Prevents a speed-up measured on documents that have few windows to skip."""
    documents = small.inputs[1]
    longest = max(map(len, documents))
    assert {len(documents[n]) for n in latency.long_documents(documents, longest, 4)} == {longest}
    with pytest.raises(Exception, match="min_windows"):
        latency.long_documents(documents, 99, 4)


def test_the_latency_curve_ends_at_the_longest_document(small):
    """Prevents an empty curve, and a growth computed backwards because the lengths were not sorted."""
    longest = max(map(len, small.inputs[1]))
    assert latency.lengths_within(small.inputs[1], [longest + 1, longest, 1]) == [1, longest]
    with pytest.raises(DistillError, match=rf"longest has {longest}\. Lower evaluation\.lengths"):
        latency.lengths_within(small.inputs[1], [longest + 2, longest + 1])


def test_growth_compares_the_longest_document_with_the_shortest():
    """Prevents a latency that grows with the document from being called flat."""
    lengths = (10.0, 20.0, 40.0)
    curves = [
        Curve("all windows", "latency", "windows", lengths, (5.0, 10.0, 20.0)),
        Curve("cascade, k = 4", "latency", "windows", lengths, (4.0, 4.5, 5.0)),
    ]
    growth = {measure.arm: (measure.name, measure.value) for measure in latency.growth(curves, "ESM ndcg2")}
    assert growth["all windows"] == ("times longer for 40 windows than for 10", 4.0)
    assert growth["ESM ndcg2, k = 4"][1] == 1.25
