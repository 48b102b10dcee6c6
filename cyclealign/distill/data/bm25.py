"""BM25's best passages of each query: what is re-ranked, and where negatives come from (bm25s, Lucene's variant)."""

from collections.abc import Mapping, Sequence

import numpy as np

from cyclealign.distill.data.retrieval import Run

K1, B = 0.9, 0.4  # as Pyserini's baselines


def bm25(passages: Mapping[str, str], queries: Mapping[str, str], count: int) -> Run:
    """Query id -> passage id -> BM25 score of the ``count`` best passages; only those that share a word."""
    import bm25s

    ids = list(passages)
    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index(_tokens(list(passages.values())), show_progress=False)
    places_QK, scores_QK = index.retrieve(
        _tokens(list(queries.values())), k=min(count, len(ids)), show_progress=False, n_threads=1
    )
    return {
        query_id: {ids[int(place)]: float(score) for place, score in zip(places, scores, strict=True) if score > 0}
        for query_id, places, scores in zip(queries, np.asarray(places_QK), np.asarray(scores_QK), strict=True)
    }


def _tokens(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    return bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)  # type: ignore[return-value]


def candidate_ids(run: Run) -> dict[str, list[str]]:
    """The ids of a run, best first."""
    return {query_id: sorted(scores, key=lambda each: -scores[each]) for query_id, scores in run.items()}
