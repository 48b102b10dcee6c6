"""Rank with a trained student: re-rank candidates, or search all passages (dense retrieval, faiss)."""

from collections.abc import Mapping

import numpy as np

from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.margin_mse.data import Candidates, Collection
from cyclealign.distill.margin_mse.student import Student
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent


def rerank(student: Student, collection: Collection, queries: Mapping[str, str], candidates: Candidates) -> Run:
    """Return query id -> passage id -> the student's score, for the candidates of each query."""
    pairs = [(query_id, passage_id) for query_id in queries for passage_id in candidates.get(query_id, ())]
    scores = student.score([(queries[query_id], collection.documents[passage_id]) for query_id, passage_id in pairs])
    run: Run = {query_id: {} for query_id in queries}
    for (query_id, passage_id), score in zip(pairs, scores, strict=True):
        run[query_id][passage_id] = float(score)
    return run


def retrieve(student: BiEncoderStudent, collection: Collection, queries: Mapping[str, str], count: int) -> Run:
    """Return the ``count`` passages of the collection with the largest dot product per query (exact search)."""
    import faiss

    ids = list(collection.documents)
    vectors_PD = student.passage_vectors(list(collection.documents.values()))
    index = faiss.IndexFlatIP(vectors_PD.shape[1])
    index.add(np.ascontiguousarray(vectors_PD, dtype=np.float32))
    queries_QD = np.ascontiguousarray(student.query_vectors(list(queries.values())), dtype=np.float32)
    scores_QK, rows_QK = index.search(queries_QD, min(count, len(ids)))
    return {
        query_id: {ids[row]: float(score) for row, score in zip(rows, scores, strict=True)}
        for query_id, rows, scores in zip(queries, rows_QK.tolist(), scores_QK, strict=True)
    }
