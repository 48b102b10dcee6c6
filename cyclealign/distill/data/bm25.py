"""First-stage retrieval by BM25 (bm25s, Lucene's variant): candidates to re-rank, and hard negatives."""

from collections.abc import Mapping, Sequence

import numpy as np

from cyclealign.distill.data.retrieval import Run

K1, B = 0.9, 0.4  # Pyserini's defaults, which published BM25 baselines use


def bm25_run(passages: Mapping[str, str], queries: Mapping[str, str], count: int) -> Run:
    """Return query id -> passage id -> BM25 score of the ``count`` best passages.

    A passage that shares no word with the query scores 0 and is left out.
    """
    import bm25s

    ids = list(passages)
    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index(_tokenize(list(passages.values())), show_progress=False)
    rows_QK, scores_QK = index.retrieve(
        _tokenize(list(queries.values())), k=min(count, len(ids)), show_progress=False, n_threads=1
    )
    return {
        query_id: {ids[int(row)]: float(score) for row, score in zip(rows, scores, strict=True) if score > 0}
        for query_id, rows, scores in zip(queries, np.asarray(rows_QK), np.asarray(scores_QK), strict=True)
    }


def _tokenize(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    return bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)  # type: ignore[return-value]


def candidate_ids(run: Run) -> dict[str, list[str]]:
    """Return query id -> passage ids of a run, best first."""
    return {query_id: sorted(scores, key=lambda passage_id: -scores[passage_id]) for query_id, scores in run.items()}
