"""From rankings to an adapter, with the real TRL trainers on a tiny model."""

import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from safetensors.torch import load_file

from cyclealign.config import PolicySettings, TrainingSettings
from cyclealign.errors import TrainingFailed
from cyclealign.policy.attestation import Probe
from cyclealign.policy.probe_logprobs import from_folders
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter, Preference, Prompt
from cyclealign.training.collate import collate, pair_weights, pairs
from cyclealign.training.job import RankedAnswers, TrainingJob, decided_pairs
from cyclealign.training.launcher import train
from cyclealign.training.losses import pro, rrhf
from cyclealign.training.model import adapted
from cyclealign.training.trainers import RankingTrainer, dpo_trainer, ranking_trainer
from cyclealign.training.worker import fit
from tests.support.paths import ROOT
from tests.support.tiny import make_model

TWO = ROOT / "flows" / "configs" / "accelerate-two-gpus.yaml"
PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
SOFT = [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.25, 0.0]]
ANSWERS = ((8, 9, 10, 2), (11, 12, 2), (13, 14, 15, 16, 17, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def policy(folder):
    return TransformersPolicy(PolicySettings(), folder)


def job(folder, policy, parent=None, lists=None, **settings):
    chosen = TrainingSettings(**{"process": "same", "learning_rate": 5e-3, "epochs": 12, **settings})
    ranked = lists or (RankedAnswers(tuple(policy.prompt_ids(PROMPT)), ANSWERS, 1.0),)
    return TrainingJob(folder, None, parent, chosen, ranked, seed=3)


def mean_logprobs(policy, adapter_folder):
    policy.use(Adapter(str(adapter_folder), str(adapter_folder), "", None) if adapter_folder else None)
    sums = policy.logprob_sums(PROMPT, ANSWERS)
    policy.use(None)
    return [total / len(ids) for total, ids in zip(sums, ANSWERS, strict=True)]


def order(values):
    return sorted(range(len(values)), key=lambda place: -values[place])


@pytest.mark.parametrize("objective", ["rrhf", "pro", "dpo"])
def test_each_objective_teaches_the_order_it_is_given(folder, policy, tmp_path, objective):
    """Prevents a loss that runs, falls, and teaches nothing or the reverse."""
    before = order(mean_logprobs(policy, None))
    wanted = tuple(ANSWERS[place] for place in before[::-1])
    lists = (RankedAnswers(tuple(policy.prompt_ids(PROMPT)), wanted, 1.0),)
    train(job(folder, policy, lists=lists, objective=objective, sft_weight=0.0), tmp_path, lambda step, of: None)
    after = mean_logprobs(policy, tmp_path)
    assert order(after)[0] == before[-1]
    assert order(after)[-1] == before[0]


@pytest.mark.parametrize(("objective", "loss"), [("rrhf", rrhf), ("pro", pro)])
def test_the_trainers_loss_is_the_formula_on_the_policys_own_logprobs(folder, policy, tmp_path, objective, loss):
    """Prevents the trainer from scoring other tokens, or by other lengths, than generation and ranking do."""
    work = job(folder, policy, objective=objective)
    trainer = ranking_trainer(work, tmp_path, adapted(work))
    assert isinstance(trainer, RankingTrainer)
    # Two lists of unlike sizes and weights in one batch: padding and grouping must not show.
    rows = [
        {"prompt_ids": policy.prompt_ids(PROMPT), "answers": list(map(list, ANSWERS)), "weight": 1.0, "pairs": SOFT},
        {"prompt_ids": policy.prompt_ids(PROMPT)[:4], "answers": list(map(list, ANSWERS[:2])), "weight": 0.25}
        | {"pairs": [[0.0, 1.0], [0.0, 0.0]]},
    ]
    found = trainer.compute_loss(trainer.model, collate(rows, pad_id=0))
    expected = 0.0
    for row in rows:
        sums = plain_sums(trainer.model, row["prompt_ids"], row["answers"])
        lengths = torch.tensor([float(len(ids)) for ids in row["answers"]])
        expected += row["weight"] * loss(sums, lengths, None, torch.tensor(row["pairs"])).item() / len(rows)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def plain_sums(model, prompt_ids, answers):
    sums = []
    for ids in answers:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt_ids, *ids]])).logits[0].log_softmax(-1)
        places = range(len(prompt_ids) - 1, len(prompt_ids) + len(ids) - 1)
        sums.append(sum(logits[place, token].item() for place, token in zip(places, ids, strict=True)))
    return torch.tensor(sums)


def test_training_goes_on_from_the_parents_adapter(folder, policy, tmp_path):
    """Prevents a round that starts from the base model again and forgets what earlier rounds taught."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    fit(job(folder, policy), first, lambda step, of: None)
    fit(job(folder, policy, parent=str(first), learning_rate=1e-9, epochs=1), second, lambda step, of: None)
    assert mean_logprobs(policy, second) == pytest.approx(mean_logprobs(policy, first), abs=1e-4)
    assert mean_logprobs(policy, second) != pytest.approx(mean_logprobs(policy, None), abs=1e-2)


@pytest.mark.parametrize("config", [None, pytest.param(str(TWO), marks=pytest.mark.slow)], ids=["plain", "two"])
def test_a_process_of_its_own_makes_the_same_adapter(folder, policy, tmp_path, config):
    """Prevents two settings of one switch from being two methods; and a job file from losing something.

    With the example's two processes there is one list: one of them has nothing but what fills up.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    steps = []
    loss = train(job(folder, policy, epochs=2), here, lambda step, of: None)
    own = job(folder, policy, epochs=2, process="own", accelerate_config=config)
    other = train(own, there, lambda step, of: steps.append((step, of)))
    assert loss == pytest.approx(other, rel=1e-5)
    assert steps == [(1, 2), (2, 2)]
    weights, others = load_file(here / ADAPTER_WEIGHTS), load_file(there / ADAPTER_WEIGHTS)
    assert all(torch.allclose(weights[name], others[name], atol=1e-6) for name in weights)


def test_a_training_process_that_fails_says_why(folder, policy, tmp_path):
    """Prevents a half-made folder from being taken for an adapter."""
    broken = job(str(tmp_path / "gone"), policy, process="own")
    with pytest.raises(TrainingFailed, match="ended with code"):
        train(broken, tmp_path, lambda step, of: None)


def test_a_training_process_ends_with_the_run_whatever_is_between_them():
    """Prevents a training that goes on, and holds the GPU, after its run was killed: a launcher is no parent."""
    code = "import time; from cyclealign.processes import end_with_input; end_with_input(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(120) == 1


def test_nothing_to_learn_from_is_refused(folder, policy, tmp_path):
    lists = (RankedAnswers((1, 2), ((3, 2), (4, 2)), 0.0),)
    with pytest.raises(TrainingFailed, match="nothing to learn from"):
        train(job(folder, policy, lists=lists), tmp_path, lambda step, of: None)


def test_a_job_survives_its_file(folder, policy, tmp_path):
    lists = (RankedAnswers((1, 2), ((3, 2), (4, 2)), 1.0, ((1, 0, 0.75),)), RankedAnswers((1,), ((3,), (4,)), 1.0))
    work = job(folder, policy, parent="somewhere", lists=lists)
    work.save(tmp_path / "job.json")
    assert TrainingJob.load(tmp_path / "job.json") == work
    assert "seed" in json.loads((tmp_path / "job.json").read_text())


def test_dpo_learns_less_from_a_pair_that_verdicts_doubt(folder, policy, tmp_path):
    """Prevents the doubt from being dropped on the way: the gradient must be that of the label-smoothed formula."""
    prompt_ids = tuple(policy.prompt_ids(PROMPT))
    lists = (RankedAnswers(prompt_ids, ANSWERS[:2], 1.0, ((0, 1, 0.75),)),)
    work = job(folder, policy, lists=lists, objective="dpo", dpo_beta=0.3)
    trainer = dpo_trainer(work, tmp_path, adapted(work))
    batch = next(iter(trainer.get_train_dataloader()))
    name, weight = next((name, w) for name, w in trainer.model.named_parameters() if "lora_B.default" in name)
    trainer.compute_loss(trainer.model, batch).backward()
    found = weight.grad.clone()
    trainer.model.zero_grad()
    tokens = {key: batch[key] for key in ("input_ids", "attention_mask")}
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    better, worse = trainer.model(**tokens, labels=labels, fused_lm_head=True).log_probs.sum(1)
    apart = better - worse - (better - worse).detach()  # the reference is the policy as it is: the margin is 0
    smoothed = -0.75 * F.logsigmoid(0.3 * apart) - 0.25 * F.logsigmoid(-0.3 * apart)
    smoothed.backward()
    assert found.abs().max() > 0
    assert torch.allclose(found, weight.grad, rtol=1e-4, atol=1e-7), name


def test_near_even_pairs_are_dropped_and_the_others_keep_their_share():
    """Prevents an undecided pair from being learnt in the direction in which it happens to be written."""
    preferences = [Preference("a", "b", 0.8, 5), Preference("c", "a", 0.6, 5), Preference("b", "c", 0.5, 4)]
    assert decided_pairs("abc", preferences, 0.6) == ((0, 1, 0.8), (2, 0, 0.6))
    assert decided_pairs("abc", preferences, 0.7) == ((0, 1, 0.8),)
    assert decided_pairs("abc", preferences, 0.5) == ((0, 1, 0.8), (2, 0, 0.6))
    assert decided_pairs("cba", preferences, 0.6, follow_order=True) == ((1, 2, 0.8), (0, 2, 0.6))
    assert decided_pairs("abc", [], 0.6) is None
    assert pair_weights(RankedAnswers((1,), ((2,), (3,)), 1.0, ((1, 0, 0.75),))) == [[0.0, 0.0], [0.5, 0.0]]


def test_a_list_on_which_the_judge_is_undecided_teaches_nothing(folder, policy, tmp_path):
    """Prevents the SFT term from learning the first of several answers that nobody preferred."""
    lists = (RankedAnswers((1, 2), ((3, 2), (4, 2)), 1.0, ()),)
    with pytest.raises(TrainingFailed, match="nothing to learn from"):
        train(job(folder, policy, lists=lists), tmp_path, lambda step, of: None)


def test_pairs_are_all_better_worse_pairs_of_the_token_ids():
    """Prevents DPO from training on text that was tokenised differently from what was sampled."""
    made = pairs([RankedAnswers((1,), ((5,), (6,), (7,)), 1.0)])
    assert [(each["chosen_ids"], each["rejected_ids"]) for each in made] == [([5], [6]), ([5], [7]), ([6], [7])]


@pytest.mark.parametrize("objective", ["rrhf", "dpo"])
def test_training_leaves_a_probe_that_the_saved_adapter_answers_to(folder, policy, tmp_path, objective):
    """Prevents an attestation against wrong weights: those before the last step, of the reference, or of the base."""
    first, second = tmp_path / "first", tmp_path / "second"
    for made, parent in ((first, None), (second, str(first))):
        made.mkdir()
        train(job(folder, policy, parent=parent, objective=objective, epochs=2), made, lambda step, of: None)
    probe = Probe.load(second)
    for expected, of in ((probe.own, second), (probe.parent, first), (probe.base, None)):
        policy.use(Adapter(str(of), str(of), "", None) if of else None)
        found = [each for row in policy.token_logprobs(probe.rows) for each in row]
        assert found == pytest.approx(expected, abs=1e-4)
    policy.use(None)
    assert max(abs(a - b) for a, b in zip(probe.own, probe.parent, strict=True)) > 1e-3
    # What is measured where the trained model is spread over processes.
    again = from_folders(folder, None, False, second, str(first), probe.rows)
    assert again.own == pytest.approx(probe.own, abs=1e-4)
    assert again.parent == pytest.approx(probe.parent, abs=1e-4)
    assert again.base == pytest.approx(probe.base, abs=1e-4)
