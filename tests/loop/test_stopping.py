"""Experiments stop after rollbacks or failures in a row, say why once, and go on when a person raises the limit."""

import pytest

from cyclealign.config import load_config
from cyclealign.errors import ExperimentStopped, JudgeUnavailable
from cyclealign.loop.align import align
from cyclealign.loop.ports import Ports


class Reports(list):
    """The reports of stops, as a port."""

    @property
    def ports(self) -> Ports:
        return Ports(report_stop=lambda experiment, reason: self.append((experiment, reason)))


def never_better(bench):
    """Let every round be rolled back, whatever the judge says."""
    bench.set("acceptance", min_win_rate=1.0, max_kl=1e-9)
    bench.set("prompts", per_round=2)


def test_rollbacks_in_a_row_stop_the_run_and_the_next_ones(bench):
    """Prevents a schedule that trains, rolls back and pays the judge every night, for ever."""
    never_better(bench)
    bench.set("stop", max_rollbacks=2)
    config, reports = load_config(bench.write()).model_copy(update={"rounds": 5}), Reports()
    with pytest.raises(ExperimentStopped, match=r"2 rounds in a row were rolled back \(stop.max_rollbacks = 2\)"):
        align(config, reports.ports)
    assert [row["verdict"] for row in bench.rounds()] == ["rolled_back"] * 2
    assert [experiment for experiment, _ in reports] == ["bench"]
    asked = len(bench.judge.answered)
    with pytest.raises(ExperimentStopped):
        align(config, reports.ports)
    assert (len(bench.judge.answered), len(reports), len(bench.rounds())) == (asked, 1, 2)


def test_a_raised_limit_goes_on_and_an_accepted_round_counts_anew(bench):
    """Prevents an experiment that stays stopped for good after its cause was mended."""
    never_better(bench)
    bench.set("stop", max_rollbacks=1)
    assert bench.run()[0] == 1
    bench.set("acceptance", min_win_rate=0.0, max_kl=1e9)
    assert "ExperimentStopped" in bench.run()[1]
    bench.set("stop", max_rollbacks=0)
    code, output = bench.run()
    assert code == 0, output
    bench.set("stop", max_rollbacks=1)
    code, output = bench.run()
    assert code == 0, output
    assert [row["verdict"] for row in bench.rounds()] == ["rolled_back", "accepted", "accepted"]


def test_failed_runs_in_a_row_stop_the_experiment_until_a_round_is_finished(bench):
    """Prevents a schedule that fails every night in the same way with nobody told."""
    bench.set("stop", max_failures=2)
    bench.judge.status = lambda _: 401
    config, reports = load_config(bench.write()), Reports()
    for _ in range(2):
        with pytest.raises(JudgeUnavailable):
            align(config, reports.ports)
    assert len(reports) == 1
    assert "JudgeUnavailable: " in reports[0][1]
    asked = bench.judge.headers.copy()
    with pytest.raises(ExperimentStopped, match="2 runs in a row failed"):
        align(config, reports.ports)
    assert (len(reports), bench.judge.headers) == (1, asked)
    bench.judge.status = None
    raised = config.model_copy(update={"stop": config.stop.model_copy(update={"max_failures": 3})})
    assert align(raised) == 1
    assert align(config) == 1
