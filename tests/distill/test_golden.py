"""A job whose results change raises its version: students of before must not stand for those of today."""

import json

import pytest
import torch

from cyclealign.distill.registry import JOBS
from tests.distill.golden import FILE, JOB_OUTPUTS, complaint, outputs

pytestmark = pytest.mark.slow

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="golden outputs are those of a CPU")
@pytest.mark.parametrize("job", JOB_OUTPUTS)
def test_outputs_change_only_with_the_version(job):
    """Prevents old students from being taken for those that today's code would train."""
    found = complaint(job, JOBS[job].version(), GOLDEN[job], outputs(job))
    assert found is None, found


def test_every_job_has_golden_outputs():
    """Prevents a job whose results may change unseen."""
    assert set(JOB_OUTPUTS) == set(JOBS) == set(GOLDEN)


def test_a_change_without_a_version_and_a_version_without_a_change_are_told():
    """Prevents the comparison itself from passing everything."""
    golden = {"version": 1, "outputs": {"loss": [2.0, 0.0]}}
    assert complaint("pld", 1, golden, {"loss": [2.001, 0.00005]}) is None
    told = "the golden outputs of pld changed (loss): raise VERSION and write the new ones by"
    for other in ([2.01, 0.0], [2.0, 0.001], [2.0]):
        assert str(complaint("pld", 1, golden, {"loss": other})).startswith(told)
    assert "holds version 1 of pld, whose VERSION is 2" in str(complaint("pld", 2, golden, {"loss": [2.0, 0.0]}))
    assert "differ in parts (new)" in str(complaint("pld", 1, golden, {"loss": [2.0, 0.0], "new": [1.0]}))
