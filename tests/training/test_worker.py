"""The training process: parents and probes, with the real TRL trainers on a tiny model."""

import pytest

from cyclealign.policy.attestation import Probe
from cyclealign.policy.probe_logprobs import probe_from_folders
from cyclealign.records import Adapter
from cyclealign.training import self_check
from cyclealign.training.remarks import load_remarks
from cyclealign.training.worker import fit
from tests.support.training_jobs import mean_logprobs, no_progress, training_job

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    return first, second


def test_training_continues_from_the_parents_adapter(folder, policy, prompt_ids, folders):
    """Prevents a round that starts from the base model again and forgets what earlier rounds taught."""
    first, second = folders
    fit(training_job(folder, prompt_ids), first, no_progress)
    fit(training_job(folder, prompt_ids, parent=first, learning_rate=1e-9, epochs=1), second, no_progress)
    assert mean_logprobs(policy, second) == pytest.approx(mean_logprobs(policy, first), abs=1e-4)
    assert mean_logprobs(policy, second) != pytest.approx(mean_logprobs(policy, None), abs=1e-2)


@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_the_saved_adapter_reproduces_its_probe(folder, policy, prompt_ids, folders, objective):
    """Prevents attestation against wrong weights: those before the last step, of the reference, or of the base."""
    first, second = folders
    for saved, parent in ((first, None), (second, first)):
        fit(training_job(folder, prompt_ids, parent=parent, objective=objective, epochs=2), saved, no_progress)
    probe = Probe.load(second)
    for expected, saved in ((probe.own, second), (probe.parent, first), (probe.base, None)):
        policy.use(Adapter(str(saved), str(saved), "", None) if saved else None)
        measured = [logprob for row in policy.token_logprobs(probe.rows) for logprob in row]
        assert measured == pytest.approx(expected, abs=1e-4)
    policy.use(None)
    assert max(abs(a - b) for a, b in zip(probe.own, probe.parent, strict=True)) > 1e-3
    # The probe of sharded weights is computed from the folders.
    from_folders = probe_from_folders(folder, None, False, second, str(first), probe.rows)
    assert from_folders.own == pytest.approx(probe.own, abs=1e-4)
    assert from_folders.parent == pytest.approx(probe.parent, abs=1e-4)
    assert from_folders.base == pytest.approx(probe.base, abs=1e-4)


def test_repeated_prompts_are_remarked_with_the_reason(folder, prompt_ids, folders, monkeypatch):
    """Prevents a training that is slow for a reason that nobody learns."""
    first, second = folders
    fit(training_job(folder, prompt_ids, epochs=1), first, no_progress)
    monkeypatch.setattr(self_check, "is_multimodal", lambda config: True)
    fit(training_job(folder, prompt_ids, epochs=1), second, no_progress)
    assert load_remarks(first) == {}
    words = "Each answer is computed with its prompt: the model is multimodal"
    assert load_remarks(second) == {"shared prompt": words}
