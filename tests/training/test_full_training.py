"""Full fine-tuning instead of an adapter, with the real TRL trainers on a tiny model."""

import gc
import json
import math
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from cyclealign.config import PolicySettings, TrainingSettings
from cyclealign.errors import PolicyError
from cyclealign.policy import weights
from cyclealign.policy.attestation import Probe
from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Adapter, Prompt
from cyclealign.training.collate import collate_lists
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.launcher import train
from cyclealign.training.model import full_model
from cyclealign.training.objectives import OBJECTIVES, ListScores
from cyclealign.training.trainers import make_trainer
from cyclealign.training.worker import fit
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
ANSWERS = ((8, 9, 10, 2), (11, 12, 2), (13, 14, 15, 16, 17, 2))
ONE_FILE = "model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def policy(base):
    return TransformersPolicy(PolicySettings(), str(base))


@pytest.fixture(scope="module")
def prompt_ids(policy):
    return tuple(policy.prompt_ids(PROMPT))


@pytest.fixture
def job(base, prompt_ids):
    def make(parent=None, answers=ANSWERS, **settings):
        chosen = {"process": "same", "method": "full", "learning_rate": 1e-3, "epochs": 8, **settings}
        lists = (RankedAnswers(prompt_ids, tuple(answers), 1.0),)
        return TrainingJob(str(base), None, parent and str(parent), TrainingSettings(**chosen), lists, seed=3)

    return make


def trained(work: TrainingJob, folder: Path) -> Path:
    folder.mkdir()
    train(work, folder, lambda step, of: None)
    return folder


def recorded(folder: Path) -> Adapter:
    return Adapter(folder.name, str(folder), weights.content_hash(folder) or "", None)


def mean_logprobs(policy, folder=None):
    policy.use(recorded(folder) if folder else None)
    sums = policy.logprob_sums(PROMPT, ANSWERS)
    return [total / len(ids) for total, ids in zip(sums, ANSWERS, strict=True)]


@pytest.mark.parametrize("objective", ["rrhf", "lipo", "dpo"])  # a list, a list with a reference, pairs
def test_an_objective_moves_all_weights_towards_the_given_order(base, policy, job, tmp_path, objective):
    """Prevents layers that stay frozen, and a loss that runs, falls, and learns nothing or the reverse."""
    before = mean_logprobs(policy)
    ascending = sorted(range(3), key=lambda place: before[place])
    made = trained(job(answers=[ANSWERS[place] for place in ascending], objective=objective), tmp_path / "made")
    after = mean_logprobs(policy, made)
    gap = [values[ascending[0]] - values[ascending[-1]] for values in (before, after)]
    assert gap[1] > gap[0] + 0.1
    old, new = load_file(base / ONE_FILE), load_file(made / ONE_FILE)
    assert old.keys() == new.keys()
    assert not [name for name in old if torch.equal(old[name], new[name])]


@pytest.mark.parametrize("objective", [name for name, one in OBJECTIVES.items() if one.trainer == "listwise"])
def test_the_loss_is_the_formula_on_a_plain_forward_of_the_model(base, job, prompt_ids, tmp_path, objective):
    """Prevents a trainer that scores other tokens than the policy, or through an adapter that is still around it."""
    work = job(objective=objective)
    model, _ = full_model(work)
    trainer = make_trainer(work, tmp_path, model)
    row = {"prompt_ids": list(prompt_ids), "answers": list(map(list, ANSWERS)), "weight": 1.0}
    pairs = [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.25, 0.0]]
    parent = [-25.0, -17.5, -33.0]
    loss = trainer.compute_loss(
        trainer.model, collate_lists([{**row, "pairs": pairs, "parent_sums": parent}], pad_id=0)
    )
    plain = TransformersPolicy(PolicySettings(), str(base))
    sums, lengths = torch.tensor(plain.logprob_sums(PROMPT, ANSWERS)), torch.tensor([4.0, 3.0, 6.0])
    scores = ListScores(sums, lengths, torch.tensor(pairs), torch.tensor(parent))
    expected = OBJECTIVES[objective].list_terms(scores, OBJECTIVES[objective].settings(work.settings)).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_round_continues_from_its_parents_weights_and_dpo_takes_them_as_reference(policy, job, tmp_path):
    """Prevents rounds that start from the base model again, and a reference other than the start of the round."""
    first = trained(job(), tmp_path / "first")
    second = trained(job(first, learning_rate=1e-9, epochs=1), tmp_path / "second")
    assert mean_logprobs(policy, second) == pytest.approx(mean_logprobs(policy, first), abs=1e-4)
    assert mean_logprobs(policy, second) != pytest.approx(mean_logprobs(policy), abs=1e-2)
    work = job(first, objective="dpo")
    trainer = make_trainer(work, tmp_path, full_model(work)[0])
    batch = next(iter(trainer.get_train_dataloader()))
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(math.log(2), abs=1e-5)


def test_training_twice_gives_the_same_bytes(base, job, tmp_path):
    """Prevents a round that was killed and resumed from having another result; configs stay those of the base model."""
    made, again = (trained(job(epochs=2), tmp_path / name) for name in ("made", "again"))
    assert weights.content_hash(made) == weights.content_hash(again) is not None
    for name in ("config.json", "generation_config.json"):
        assert json.loads((made / name).read_text()) == json.loads((base / name).read_text())
    tokenizers = [load_tokenizer(str(folder)) for folder in (base, made)]
    assert tokenizers[0].apply_chat_template(PROMPT.messages) == tokenizers[1].apply_chat_template(PROMPT.messages)


def test_the_probe_distinguishes_the_weights_from_the_parents_and_the_bases(policy, job, tmp_path):
    """Prevents an attestation that an engine on the parent's weights would pass."""
    first = trained(job(epochs=2), tmp_path / "first")
    second = trained(job(first, epochs=2), tmp_path / "second")
    probe = Probe.load(second)
    for expected, folder in ((probe.own, second), (probe.parent, first), (probe.base, None)):
        policy.use(recorded(folder) if folder else None)
        measured = [logprob for row in policy.token_logprobs(probe.rows) for logprob in row]
        assert measured == pytest.approx(expected, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(probe.own, probe.parent, strict=True)) > 1e-3
    assert max(abs(a - b) for a, b in zip(probe.parent, probe.base, strict=True)) > 1e-3


@pytest.fixture(scope="module")
def twins(base, tmp_path_factory):
    """The base model in bfloat16, and the same values as float32."""
    folders = {}
    for dtype in (torch.bfloat16, torch.float32):
        folders[dtype] = tmp_path_factory.mktemp(str(dtype).rpartition(".")[2])
        rounded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
        rounded.to(dtype).save_pretrained(folders[dtype])
        load_tokenizer(str(base)).save_pretrained(folders[dtype])
    return folders


def after_rounds(start: Path, job, home: Path, rounds: int) -> Path:
    """Return the folder of the last of several rounds of five steps, at a rate that bfloat16 rounds away."""
    parent = None
    for number in range(rounds):
        work = replace(job(parent, learning_rate=1e-6, epochs=5), model=str(start))
        parent = trained(work, home / f"{start.name}-{number}")
    assert parent is not None
    return parent


def test_small_steps_add_up_over_rounds_on_a_model_in_bfloat16(twins, job, tmp_path):
    """Prevents rounds that end where they started: rounding the weights of each round took 96 % of the steps back."""
    last = {dtype: load_file(after_rounds(start, job, tmp_path, 5) / ONE_FILE) for dtype, start in twins.items()}
    start = load_file(twins[torch.float32] / ONE_FILE)
    for name, weight in last[torch.bfloat16].items():
        torch.testing.assert_close(weight, last[torch.float32][name], rtol=0, atol=1e-8)
        assert not torch.equal(weight, start[name])


def test_full_weights_are_served_in_the_models_own_precision(twins, job, tmp_path):
    """Prevents a policy of twice the memory because float32 weights are stored."""
    last = after_rounds(twins[torch.bfloat16], job, tmp_path, 2)
    assert {weight.dtype for weight in load_file(last / ONE_FILE).values()} == {torch.float32}
    assert json.loads((last / "config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(last, dtype="auto").dtype == torch.bfloat16


def test_full_weights_of_an_earlier_version_remain_parents(twins, job, tmp_path):
    """Prevents an experiment from ending at an upgrade: earlier versions stored the served precision."""
    stored = twins[torch.bfloat16]  # as a round of an earlier version left it
    made = trained(replace(job(stored, learning_rate=1e-6, epochs=1), model=str(stored)), tmp_path / "next")
    before, after = load_file(twins[torch.float32] / ONE_FILE), load_file(made / ONE_FILE)
    assert before.keys() == after.keys()
    assert 0 < max((after[name] - before[name]).abs().max().item() for name in before) < 1e-5


def test_the_policy_holds_one_set_of_weights_at_a_time(base, job, tmp_path):
    """Prevents two models in memory, and answers of the full weights after a switch back to the base model."""
    made = trained(job(epochs=2), tmp_path / "made")
    one = TransformersPolicy(PolicySettings(), str(base))
    plain, former = mean_logprobs(one), weakref.ref(one._base)
    tuned = mean_logprobs(one, made)
    gc.collect()
    assert former() is None
    assert tuned != pytest.approx(plain, abs=1e-3)
    assert mean_logprobs(one) == plain
    for broken in made.glob("*.safetensors"):
        broken.unlink()
    with pytest.raises(PolicyError, match="holds no"):
        one.use(recorded(made))
    assert mean_logprobs(one) == plain


def test_the_hash_covers_every_file_of_sharded_weights(base, tmp_path):
    """Prevents a shard, or a config, from being replaced under a hash that covers one file."""
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(tmp_path, max_shard_size="12KB")
    parts = weights.files(tmp_path)
    assert sum(part.suffix == ".safetensors" for part in parts) > 1
    assert {part.name for part in parts} >= {"config.json", "model.safetensors.index.json"}
    seen = {weights.content_hash(tmp_path)}
    for part in parts:
        part.write_bytes(part.read_bytes() + b" ")
        seen.add(weights.content_hash(tmp_path))
    assert len(seen) == len(parts) + 1
    (tmp_path / "notes.txt").write_text("not a part of it")
    assert weights.content_hash(tmp_path) in seen


def test_an_adapter_keeps_the_hash_that_histories_have(job, tmp_path):
    """Prevents every adapter of earlier versions from being refused as changed."""
    fit(job(method="lora", epochs=1), tmp_path, lambda step, of: None)
    assert not weights.is_full_model(tmp_path)
    assert [path.name for path in weights.files(tmp_path)] == [weights.ADAPTER_WEIGHTS]
    (tmp_path / weights.ADAPTER_WEIGHTS).unlink()
    assert weights.content_hash(tmp_path) is None
