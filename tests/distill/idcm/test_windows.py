"""Windows and rows: every token once in a centre, and rows that do not depend on each other."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.distill.idcm.windows import Windowing, by_document, cut, packed_rows

lengths = st.integers(0, 700)


@given(lengths, st.integers(1, 60), st.integers(0, 9), st.integers(1, 9))
def test_windows_follow_the_paper(length, centre, overlap, max_windows):
    """Prevents lost or repeated tokens at the borders, and windows of padding only."""
    windows = cut(list(range(1, length + 1)), Windowing(centre, overlap, max_windows))
    read = list(range(1, min(length, centre * max_windows) + 1))
    assert len(windows) == max(1, -(-len(read) // centre))
    for number in range(len(windows)):
        start = number * centre
        expected = read[max(0, start - overlap) : start + centre + overlap]
        assert windows.ids_PT[number][windows.mask_PT[number]].tolist() == expected


def test_the_papers_window_has_64_tokens():
    """Prevents defaults that differ from the paper."""
    windows = cut(list(range(2_500)), Windowing())
    assert windows.ids_PT.shape == (40, 64)
    assert windows.ids_PT[1].tolist() == list(range(43, 107))


def test_rows_are_query_then_window_with_padding_at_the_end():
    """Prevents positions, and thus scores, that depend on the longest query of a batch."""
    queries = [torch.tensor([101, 9, 102]), torch.tensor([101, 102])]
    ids, mask, segments = packed_rows(queries, [cut([1, 2, 3], Windowing(2, 1, 5)), cut([4], Windowing(2, 1, 5))])
    assert ids[mask].tolist() == [101, 9, 102, 1, 2, 3, 101, 9, 102, 2, 3, 101, 102, 4]
    assert segments[mask].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1]
    assert mask.int().diff(dim=1).max() <= 0


def test_scores_of_zero_are_scores():
    """Prevents the error of the released code: an exact score of 0 taken for padding."""
    scores, mask = by_document(torch.tensor([0.0, 1.0, 0.0]), [1, 2])
    assert scores.tolist() == [[0, 0], [1, 0]]
    assert mask.tolist() == [[True, False], [True, True]]
