"""A small encoder and a small collection, created once."""

import pytest

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.data import Collection
from cyclealign.distill.margin_mse.demo_models import write_encoder

WORDS = "red green blue cat dog bird runs sleeps sings in on under house tree river old young fast slow here".split()
PASSAGES = {
    "p1": "old cat sleeps in house",
    "p2": "young dog runs under tree here",
    "p3": "blue bird sings on tree",
    "p4": "red bird",
}
QUERIES = {"q1": "cat sleeps", "q2": "fast dog", "q3": "bird sings on tree here"}
QRELS = {"train": {"q1": {"p1": 1}, "q2": {"p2": 1}}, "test": {"q3": {"p3": 2, "p4": 1}}}


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder, [" ".join(WORDS)], seed=1, layers=2)
    return folder


@pytest.fixture
def collection():
    return Collection(PASSAGES, QUERIES, QRELS)


@pytest.fixture
def student_settings(encoder):
    def settings(kind, **changes):
        values = {"model": str(encoder), "query_tokens": 8, "passage_tokens": 10, "token_size": 6, "query_masks": 3}
        return StudentSettings(kind=kind, **{**values, "split": 1, "embedding_size": 12, **changes})

    return settings
