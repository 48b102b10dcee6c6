"""Settings of the jobs that would end a run only once its work is done are refused at its start."""

import pytest

from cyclealign.config import checked_settings
from cyclealign.distill.registry import JOBS
from cyclealign.errors import BadConfig


@pytest.mark.parametrize(
    ("job", "settings", "said"),
    [
        ("idcm", {"evaluation": {"ks": [4, 4]}}, r"'evaluation\.ks': .*twice"),
        ("idcm", {"evaluation": {"ks": [0, 4]}}, r"'evaluation\.ks\.0': .*1"),
        ("idcm", {"evaluation": {"batches": [8, 8]}}, r"'evaluation\.batches': .*twice"),
        ("idcm", {"evaluation": {"batches": [0]}}, r"'evaluation\.batches\.0': .*1"),
        ("idcm", {"evaluation": {"lengths": []}}, r"'evaluation\.lengths': .*at least 1"),
        ("idcm", {"data": {"demo": {"min_passages": 9, "max_passages": 8}}}, "min_passages must not be above"),
        ("leaf", {"evaluation": {"dims": [16, 16]}}, r"'evaluation\.dims': .*twice"),
        ("leaf", {"evaluation": {"dims": [-16]}}, r"'evaluation\.dims\.0': .*1"),
        ("margin-mse", {"seed": 2**31}, "'seed': .*less than"),
        ("margin-mse", {"seed": 99999999999999999999}, "'seed': .*less than"),
        ("margin-mse", {"training": {"offsets": [1.0, 1.0000001]}}, r"training\.offsets names something twice: 1, 1\."),
        ("margin-mse", {"training": {"offsets": [-3.0]}}, r"'training\.offsets\.0': .*0"),
        ("margin-mse", {"training": {"offsets": [float("inf")]}}, r"'training\.offsets\.0': .*finite"),
        ("margin-mse", {"training": {"learning_rate": float("inf")}}, "finite"),
        ("pld", {"arms": [{"loss": "pld", "tries": [{"tau": float("nan")}]}]}, "finite"),
    ],
)
def test_a_number_out_of_bounds_is_refused_at_once(job, settings, said):
    """Prevents training that ends in a traceback, in measures that are no numbers, or in two arms in one folder."""
    with pytest.raises(BadConfig, match=said):
        checked_settings(settings, "run.toml", JOBS[job].config_model())
