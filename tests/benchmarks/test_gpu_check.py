"""The check for a machine with a GPU: it ends in time, reports what fails, and its parts run on a CPU too."""

import json

import pytest

from benchmarks.gpu_check import Part, main, parts, ratios, run_parts
from benchmarks.gpu_step import needed_flops
from benchmarks.ranking_arm import Case


def script(name, code, seconds=60.0, alone=True):
    return Part(name, ("-c", code), seconds, alone)


def test_a_part_that_fails_or_hangs_is_reported_and_stops_no_other():
    """Prevents a missing package, or a part that waits for ever, from costing the figures of all others."""
    outcomes = run_parts(
        [
            script("hangs", "import time; time.sleep(600)", seconds=0.5),
            script("fails", "raise ImportError('no such package')"),
            script("silent", "print('no result')"),
            script("works", "print('a log line'); print('{\"value\": 1}')"),
            script("beside", "print('{\"value\": 2}')", alone=False),
        ],
        60,
    )
    assert outcomes["hangs"] == {"error": "took longer than 0.5 s"}
    assert outcomes["fails"]["error"].startswith("exit code 1: ")
    assert "ImportError: no such package" in outcomes["fails"]["error"]
    assert "exit code 0" in outcomes["silent"]["error"]
    assert (outcomes["works"], outcomes["beside"]) == ({"value": 1}, {"value": 2})


def test_no_part_starts_after_the_end_of_the_time():
    """Prevents a check that is cut off by its machine before it has printed anything."""
    assert run_parts([script("late", "print('{}')")], 0) == {"late": {"error": "no time was left"}}
    limits = [part.seconds for part in parts(smoke=False) if part.alone]
    assert sum(limits) <= 470


def test_ratios_compare_the_others_with_ours():
    """Prevents a ratio that is upside down, and a crash where an arm or its memory is missing."""
    outcomes = {
        "step ours": {"seconds": 2.0, "peak_memory_mb": 100.0},
        "step trl": {"seconds": 5.0, "peak_memory_mb": 300.0},
        "step dpo": {"error": "out of memory"},
        "step repeated": {"seconds": 4.0, "peak_memory_mb": None},
    }
    assert ratios(outcomes) == {"trl": {"time": 2.5, "memory": 3.0}, "repeated": {"time": 2.0, "memory": None}}


def test_needed_flops_are_those_of_a_small_case_by_hand():
    """Prevents a utilisation that counts the prompt once for each answer, or a gradient of frozen weights."""
    layer = 896 * (896 + 256) + 896 * 896 + 3 * 896 * 4864
    linear = 4 * ((4 + 2 * 3) * layer + 2 * 3 * 896 * 10)
    attention = 12 * (4 * 4 / 2 + 2 * 3 * (4 + 1.5)) * 896
    assert needed_flops(Case(4, 3, 2, 1, 10)) == linear + attention


@pytest.mark.slow
def test_a_smoke_run_takes_real_steps_on_a_cpu(tmp_path, capsys):
    """Prevents a check that no longer runs by the time that there is a GPU."""
    out = tmp_path / "gpu.json"
    code = main(["--smoke", "--only", "machine,step ours,step dpo,gradients", "--out", str(out)])
    result = json.loads(capsys.readouterr().out)
    assert (code, result["failed"]) == (0, []), result["parts"]
    assert json.loads(out.read_text()) == result
    assert result["parts"]["gradients"]["equal"]
    assert result["parts"]["gradients"]["form"] != "repeated"
    assert set(result["other_arms_by_ours"]) == {"dpo"}
    assert "torch" in result["parts"]["machine"]["versions"]
