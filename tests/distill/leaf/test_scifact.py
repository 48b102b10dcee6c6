"""The LEAF benchmark's reading of SciFact; skipped without the data."""

import json

import pytest

from benchmarks import leaf
from cyclealign.distill.leaf.data import read_task

pytestmark = pytest.mark.skipif(not leaf.SCIFACT.is_dir(), reason=f"no SciFact at {leaf.SCIFACT}")


def test_scifact_is_read_whole_and_no_test_claim_is_trained_on(tmp_path):
    """Prevents lost judgements, and training on a test claim or on its negation."""
    leaf.write_task(tmp_path, 500)
    task = read_task(str(tmp_path), "test")
    assert (len(task.queries), len(task.documents), sum(map(len, task.relevant))) == (300, 5183, 339)
    claims = [json.loads(line)["text"] for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    assert len(claims) > 500
    assert not set(claims) & set(task.queries)
    assert "0-dimensional biomaterials lack inductive properties." not in claims
    texts = [json.loads(line)["text"] for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert len(texts) == 5183 + 500
