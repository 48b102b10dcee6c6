"""Models, judges and files as people have them, through two rounds: no step fails, no label is wrong."""

from itertools import groupby
from pathlib import Path

import pytest

from cyclealign.config import ExperimentConfig, PolicySettings
from cyclealign.errors import TrainingFailed
from cyclealign.loop import train as train_step
from cyclealign.loop.align import align
from cyclealign.policy.attestation import Probe
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Adapter
from cyclealign.store import Store
from tests.first_hour.walk import Case, models_alone, others, walk

pytestmark = pytest.mark.slow
CUT_OFF = "cut off"


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEST_JUDGE_KEY", "a-very-secret-key")


@pytest.mark.parametrize("case", others(), ids=str)
def test_two_rounds(case: Case, tmp_path, models):
    """Prevents a kind of judge or file that a user brings from failing, or from labels that nobody gave."""
    assert len(walk(case, tmp_path, models).verdicts) == 2


@pytest.fixture
def sampled_by(monkeypatch):
    """Return a list of the adapters that answers were sampled from, as it grows; None: the base model."""
    seen: list[str | None] = []
    answer = TransformersPolicy.answer

    def noted(policy, prompts, count, seed):
        seen.append(policy._adapter and policy._adapter.id)
        return answer(policy, prompts, count, seed)

    monkeypatch.setattr(TransformersPolicy, "answer", noted)
    return seen


@pytest.fixture
def cut_off_once(monkeypatch, sampled_by):
    """Return a function that runs an experiment and is cut off before its first training; then it runs it again."""

    def advance(config: ExperimentConfig) -> None:
        def cut_off(*_):
            raise TrainingFailed("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(train_step.launcher, "train", cut_off)
            with pytest.raises(TrainingFailed, match="out of memory"):
                align(config)
        sampled_by.append(CUT_OFF)
        align(config)

    return advance


@pytest.mark.parametrize("case", models_alone(), ids=str)
def test_two_rounds_of_each_kind_of_model(case: Case, tmp_path, models, cut_off_once, sampled_by):
    """Prevents a kind of model that fails in some step, is sampled again after a run that was cut off, or starts the
    second round from the base model."""
    assert walk(case, tmp_path, models, cut_off_once).verdicts == ("accepted", "accepted")
    first, second = trained_adapters()
    assert [name for name, _ in groupby(sampled_by)] == [None, CUT_OFF, first.id, second.id]
    policy = TransformersPolicy(PolicySettings(max_new_tokens=24), str(models / case.model))
    probe = Probe.load(Path(second.path))
    for expected, adapter in ((probe.own, second), (probe.parent, first), (probe.base, None)):
        policy.use(adapter)
        measured = [logprob for row in policy.token_logprobs(probe.rows) for logprob in row]
        assert measured == pytest.approx(expected, abs=2e-4)


def trained_adapters() -> list[Adapter]:
    """Return the adapters of both rounds; the second was trained from the first."""
    with Store.open() as store:
        rounds = [store.rounds.get("mine", number) for number in (1, 2)]
        adapters = [store.adapters.of_round(round_.id) for round_ in rounds]
    first, second = [adapter for adapter in adapters if adapter is not None]
    assert second.parent_id == first.id
    return [first, second]
