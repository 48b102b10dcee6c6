"""A student of on-policy distillation is served by vLLM, attested by the probe that the job writes."""

import pytest
import torch

from cyclealign.distill.opd import student, train
from cyclealign.distill.opd.config import TrainingSettings
from cyclealign.distill.opd.predict import Generation, sample
from cyclealign.distill.opd.student import Source
from cyclealign.errors import WrongWeights
from cyclealign.files import hash_of_file
from cyclealign.policy.attestation import Probe
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter
from tests.vllm.conftest import PROMPTS

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PER_TOKEN = 1e-3  # float32, nats


@pytest.fixture
def distilled(policy_folder, twin, tmp_path):
    """The folder of an adapter that learnt from a teacher with other weights."""
    source = Source("student.model", str(policy_folder))
    tokenizer = student.tokenizer_of(source)
    teacher = student.model_of(source)
    with torch.no_grad():
        for weights in teacher.parameters():
            weights += 0.02 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    prompts = [tuple(twin.prompt_ids(prompt)) for prompt in PROMPTS]
    generation = Generation(tokenizer, student.end_tokens(source, tokenizer), 24, 1.0)
    settings = TrainingSettings(steps=4, prompts_per_step=4, learning_rate=3e-3, save_every=0)
    model = student.trainable(source, settings, 0)
    task = train.Task("opd", prompts, None, teacher, generation)
    train.fit(model, task, settings, 0, tmp_path / "steps", lambda done, of: None)
    rows = [row.ids for row in sample(model, prompts, generation, 3)]
    student.save(model, tokenizer, tmp_path / "student")
    student.probe(model, source, rows).save(tmp_path / "student")
    return tmp_path / "student"


def adapter(name, folder):
    """The record of an adapter in a folder, on the base model."""
    return Adapter(name, str(folder), hash_of_file(folder / ADAPTER_WEIGHTS), None)


def test_vllm_serves_the_student_that_was_trained(policy, distilled):
    """Prevents a student whose served weights are those of before, in silence."""
    policy.use(adapter("opd-student", distilled))
    probe = Probe.load(distilled)
    served = [value for row in policy.token_logprobs(probe.rows) for value in row]
    assert served == pytest.approx(probe.own, abs=10 * PER_TOKEN)
    assert max(abs(own - before) for own, before in zip(probe.own, probe.base, strict=True)) > 0.1
    Probe(probe.rows, probe.base, probe.own, probe.own).save(distilled)  # of other weights
    policy.use(None)
    with pytest.raises(WrongWeights):
        policy.use(adapter("opd-other", distilled))
