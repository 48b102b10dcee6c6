"""Effectiveness and speed figures: worked out by hand on two queries, and clocks that count what they say."""

import dataclasses
import math

import pytest
import torch
from torch import tensor

from cyclealign.distill.idcm import evaluate, latency
from cyclealign.distill.idcm.data import Judged
from cyclealign.distill.idcm.etm import TopWindows
from cyclealign.distill.idcm.predict import Cascade
from cyclealign.distill.idcm.tokenized import Pair
from cyclealign.errors import DistillError
from cyclealign.records.distillation import Curve


def two_queries():
    judged = (Judged("a", ("x", "y"), {"x": 1}), Judged("b", ("x", "y"), {"y": 1}))
    pairs = [Pair(q, d) for q in "ab" for d in "xy"]
    etm = [tensor(row) for row in ([0.0, 5.0], [1.0], [3.0, 0.0], [0.0, 9.0])]
    first = torch.zeros(4, 2)  # equal scores choose the first window
    return evaluate.Scored.of(judged, pairs, etm, {"first": first})


def test_k_windows_change_the_ranking_as_they_should():
    """All windows put both relevant documents first; the first window alone puts both second."""
    scored, aggregate = two_queries(), TopWindows(3)
    every = evaluate.values_by_query(scored, aggregate, scored.mask_NP)
    assert every["MRR@10"].tolist() == [1, 1]
    one = evaluate.of_selection(scored, aggregate, "first", 1)
    assert one["MRR@10"].tolist() == [0.5, 0.5]
    assert evaluate.recall_of_best(scored, "first", 1).tolist() == [0, 1, 1, 0]
    second = torch.tensor([[0.0, 1.0]]).expand(4, 2)
    scored = dataclasses.replace(scored, selections={"second": second, **scored.selections})
    found = {(each.arm, each.name): each.value for each in evaluate.measures(scored, aggregate, (1, 2))}
    assert found["first, k = 1", "share of all windows' nDCG@10"] == pytest.approx(0.6309, abs=1e-4)
    assert found["first, k = 2", "share of all windows' nDCG@10"] == 1
    assert found["first, k = 2", "second above it, nDCG@10"] == 0
    gain = found["second, k = 1", "nDCG@10"] - found["first, k = 1", "nDCG@10"]
    assert found["first, k = 1", "second above it, nDCG@10"] == pytest.approx(gain)
    assert gain != 0


def test_what_the_candidates_lack_is_lost_and_grades_count():
    """Prevents figures above trec_eval's: a query without a hit left out, a missed document forgotten, grades of 1."""
    judged = (Judged("a", ("x", "y"), {"x": 1, "y": 3, "elsewhere": 2}), Judged("b", (), {"y": 1}))
    pairs = [Pair("a", "x"), Pair("a", "y")]
    scored = evaluate.Scored.of(judged, pairs, [tensor([2.0]), tensor([1.0])], {})
    found = evaluate.values_by_query(scored, TopWindows(3), scored.mask_NP)
    gained, best = 1 + 3 / math.log2(3), 3 + 2 / math.log2(3) + 1 / 2
    assert found["nDCG@10"].tolist() == [pytest.approx(gained / best, abs=1e-4), 0]


def test_padded_windows_are_never_chosen():
    scores, mask = tensor([[-5.0, 0.0]]), tensor([[True, False]])
    assert evaluate.among_best(scores, mask, 2).tolist() == [[True, False]]


def test_sides_take_turns():
    """Prevents one side from being timed while the machine is busier than for the other."""
    order = []
    latency.side_by_side({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4)
    assert "".join(order) == "aaabbb" + "abab" * 2


def test_times_are_of_a_pair_and_all_sides_are_there(small):
    found = latency.timed(Cascade(small.etm, small.esm), *small.given, (1, 2), 1)
    rows = {(each.arm, each.name) for each in latency.measures([found], "ESM ndcg2")}
    assert ("ESM ndcg2, k = 2", "times faster, 9 at once") in rows
    assert found.modelled_ms(2) == pytest.approx(found.esm_ms + 2 * found.all_ms / found.windows)


def test_long_documents_alone_are_timed(small):
    documents = small.given[1]
    least = max(map(len, documents))
    assert {len(documents[n]) for n in latency.long_pairs(documents, least, 4)} == {least}
    with pytest.raises(Exception, match="min_windows"):
        latency.long_pairs(documents, 99, 4)


def test_the_latency_curve_goes_as_far_as_the_longest_document(small):
    """Prevents a curve of nothing, and a growth that is read off backwards because lengths were given so."""
    longest = max(map(len, small.given[1]))
    assert latency.lengths_within(small.given[1], [longest + 1, longest, 1]) == [1, longest]
    with pytest.raises(DistillError, match=rf"longest has {longest}\. Lower evaluation\.lengths"):
        latency.lengths_within(small.given[1], [longest + 2, longest + 1])


def test_growth_compares_the_longest_document_with_the_shortest():
    """Prevents a latency that grows with the document from being called flat."""
    lengths = (10.0, 20.0, 40.0)
    curves = [
        Curve("all windows", "latency", "windows", lengths, (5.0, 10.0, 20.0)),
        Curve("cascade, k = 4", "latency", "windows", lengths, (4.0, 4.5, 5.0)),
    ]
    found = {each.arm: (each.name, each.value) for each in latency.growth(curves, "ESM ndcg2")}
    assert found["all windows"] == ("times longer for 40 windows than for 10", 4.0)
    assert found["ESM ndcg2, k = 4"][1] == 1.25
