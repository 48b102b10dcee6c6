"""`cyclealign export model`: plain tools load the folder and give the policy's log-probs; the hub is a local stub."""

import json
import re

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from cyclealign.config import PolicySettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, content_hash
from cyclealign.records import Adapter, Prompt
from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.hub_uploads import HubUploads
from tests.support.tiny import TEMPLATE
from tests.support.trained_round import add_round, make_adapter

pytestmark = pytest.mark.slow

PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
OWN_TEMPLATE = TEMPLATE.replace("<|assistant|> ", "<|assistant|> you ")
SETTINGS = {"max_new_tokens": 8, "temperature": 0.7, "top_p": 0.9, "end_tokens": ["oven"]}


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    return [make_adapter(tiny_model, tmp_path_factory.mktemp(f"adapter-{seed}"), seed) for seed in (1, 2)]


@pytest.fixture
def template_file(tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text(OWN_TEMPLATE)
    return path


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys, tiny_model, adapters, template_file):
    """Return a function that runs `cyclealign export model`: round 1 is accepted, round 2 rolled back."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    policy = {**SETTINGS, "chat_template": str(template_file)}
    with Store.open() as store:
        add_round(store, tiny_model, adapters[0], policy=policy)
        add_round(store, tiny_model, adapters[1], verdict="rolled_back", policy=policy)

    def run(*args: str) -> tuple[int, str]:
        code, output, errors = run_command(capsys, "export", "model", *args)
        return code, " ".join((output + errors).split())

    return run


@pytest.fixture
def expected(tiny_model, adapters, template_file):
    """The policy's prompt ids, an answer, and its log-prob sum under each adapter."""
    policy = TransformersPolicy(PolicySettings(**SETTINGS, chat_template=str(template_file)), str(tiny_model))
    policy.use(adapters[0])
    ((answer,),) = policy.answer([PROMPT], 1, seed=3)
    sums = []
    for adapter in (*adapters, None):
        policy.use(adapter)
        sums += policy.logprob_sums(PROMPT, [answer.token_ids])
    return policy.prompt_ids(PROMPT), list(answer.token_ids), sums


def plain_sum(model, folder, answer):
    """The log-prob sum of an answer by a model, after the folder's own tokenizer and chat template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [dict(turn) for turn in PROMPT.messages]
    start = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    with torch.no_grad():
        logprobs = model.eval()(torch.tensor([[*start, *answer]])).logits[0].log_softmax(-1)
    places = range(len(start) - 1, len(start) + len(answer) - 1)
    return start, sum(logprobs[place, token].item() for place, token in zip(places, answer, strict=True))


@pytest.mark.parametrize("load", [AutoPeftModelForCausalLM, AutoModelForCausalLM], ids=["peft", "transformers"])
def test_an_adapter_gives_the_policys_logprobs(ran, tmp_path, expected, load):
    """Prevents an export of other weights, or with another chat template, than the policy answered with."""
    code, said = ran("trial", "-o", str(tmp_path / "out"))
    assert (code, "adapter of round 1" in said) == (0, True), said
    start, answer, (own, other, base) = expected
    prompt_ids, found = plain_sum(load.from_pretrained(tmp_path / "out"), tmp_path / "out", answer)
    assert prompt_ids == start
    assert found == pytest.approx(own, abs=1e-4)
    assert min(abs(found - other), abs(found - base)) > 1e-2


def test_merged_weights_of_a_named_round_give_the_policys_logprobs(ran, tmp_path, expected):
    """Prevents a merge that loses a layer, and the last accepted round in place of the named one."""
    code, said = ran("trial", "--round", "2", "--merged", "-o", str(tmp_path / "out"))
    assert (code, "of round 2" in said) == (0, True), said
    assert float(re.search(r"log-probs within (\S+) nats", said)[1]) < 1e-4
    _, answer, (_, other, _) = expected
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert plain_sum(model, tmp_path / "out", answer)[1] == pytest.approx(other, abs=1e-4)
    assert not (tmp_path / "out" / ADAPTER_CONFIG).exists()


def test_full_weights_of_a_round_are_copied_with_the_tokenizer(ran, tmp_path, tiny_model, template_file):
    """Prevents the base model under the name of fully trained weights."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        model.lm_head.weight.mul_(3)
    model.save_pretrained(tmp_path / "full")
    trained = Adapter("full", str(tmp_path / "full"), content_hash(tmp_path / "full"), None)
    settings = {**SETTINGS, "chat_template": str(template_file)}
    with Store.open() as store:
        add_round(store, tiny_model, trained, policy=settings, training={"method": "full"})
    code, said = ran("trial", "-o", str(tmp_path / "out"))
    assert (code, "all weights, float32 of round 3" in said) == (0, True), said
    policy = TransformersPolicy(PolicySettings(**settings), str(tiny_model))
    policy.use(trained)
    answer = [9, 10, 11]
    found = plain_sum(AutoModelForCausalLM.from_pretrained(tmp_path / "out"), tmp_path / "out", answer)[1]
    assert found == pytest.approx(policy.logprob_sums(PROMPT, [answer])[0], abs=1e-4)


def test_generation_config_samples_and_ends_as_the_rounds(ran, tmp_path):
    """Prevents answers of a taken-home model that run on, or are cut at the length of training."""
    assert ran("trial", "-o", str(tmp_path / "out"))[0] == 0
    config = GenerationConfig.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (config.temperature, config.top_p, config.top_k, config.do_sample) == (0.7, 0.9, 0, True)
    assert set(tokenizer.convert_ids_to_tokens(config.eos_token_id)) == {"<end>", "oven"}
    assert config.max_new_tokens is None


def test_the_folder_holds_no_rows_of_the_training_data(ran, tmp_path):
    """Prevents the adapter's probe, whose token ids are prompts and answers, from leaving the machine."""
    assert ran("trial", "-o", str(tmp_path / "out"))[0] == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {ADAPTER_WEIGHTS, ADAPTER_CONFIG, "README.md", "generation_config.json", "chat_template.jinja"} <= names
    assert "probe.json" not in names


def test_the_card_tells_the_origin(ran, tmp_path):
    """Prevents a model whose judge, templates or measured limits are unknown."""
    assert ran("trial", "-o", str(tmp_path / "out"), "--license", "apache-2.0")[0] == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "apache-2.0"' in card.split("---")[1]
    for part in ("0.750 [0.500, 0.900]", "| 24 |", "simulated", "rank ", "verdict", "win rate against the parent"):
        assert part in card, part


def test_unknown_and_untrained_rounds_are_refused(ran, tmp_path):
    code, said = ran("trial", "--round", "7", "-o", str(tmp_path / "out"))
    assert (code, "has no round 7" in said) == (1, True)
    code, said = ran("trail")
    assert (code, "no experiment 'trail'" in said) == (1, True)
    assert not (tmp_path / "out").exists()


def test_changed_weights_are_refused(ran, tmp_path, adapters, monkeypatch):
    """Prevents an export of weights that someone has replaced."""
    code, said = ran("trial", "--public", "-o", str(tmp_path / "out"))
    assert (code, "no effect" in said) == (1, True)
    monkeypatch.setattr("cyclealign.policy.weights.content_hash", lambda folder: "0" * 64)
    code, said = ran("trial", "-o", str(tmp_path / "out"))
    assert (code, "not those that were recorded" in said) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("merged", [True, False])
def test_gguf_runs_llama_cpps_script_or_names_the_command(ran, tmp_path, monkeypatch, merged, tiny_model):
    """Prevents an export that seems to have a GGUF file, and an error without the way out."""
    name = "convert_hf_to_gguf.py" if merged else "convert_lora_to_gguf.py"
    options = ["--gguf", *["--merged"] * merged, "-o", str(tmp_path / "out")]
    monkeypatch.setenv("PATH", str(tmp_path))
    code, said = ran("trial", *options)
    assert (code, "git clone" in said, f"llama.cpp/{name} {tmp_path / 'out'}" in said) == (1, True, True)
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    (tmp_path / name).write_text("import sys; sys.exit('unknown architecture')")
    code, said = ran("trial", *options)
    assert (code, "unknown architecture" in said, (tmp_path / "out").exists()) == (1, True, False)
    written = "import json, pathlib, sys; pathlib.Path(sys.argv[3]).write_text(json.dumps(sys.argv[1:]))"
    (tmp_path / name).write_text(written)
    assert ran("trial", *options)[0] == 0
    arguments = json.loads((tmp_path / "out" / "model.gguf").read_text())
    assert arguments[3:] == ([] if merged else ["--base", str(tiny_model)])


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with HubUploads() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.mark.parametrize("options", [(), ("--merged",)])
def test_push_uploads_the_folder_to_a_private_repository(ran, tmp_path, monkeypatch, hub, tiny_model, options):
    """Prevents a public upload nobody asked for, a local path on the hub, and a token from anywhere else."""
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    code, said = ran("trial", *options, "-o", str(tmp_path / "out"), "--push", "me/mine")
    assert (code, "Uploaded to" in said) == (0, True), said
    assert hub.created == [{"name": "mine", "organization": "me", "visibility": "private"}]
    assert set(hub.tokens) == {"Bearer hf_ours"}
    assert set(hub.files) == {path.name for path in (tmp_path / "out").iterdir()}
    assert all((tmp_path / "out" / name).read_bytes() == sent for name, sent in hub.files.items())
    assert str(tiny_model).encode() not in b"".join(hub.files.values())


def test_push_without_a_token_and_a_refused_one_say_what_to_do(ran, tmp_path, monkeypatch, hub):
    """Prevents a token that is read from a file of this machine, and one that is printed."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    code, said = ran("trial", "-o", str(tmp_path / "out"), "--push", "me/mine")
    assert (code, "set HF_TOKEN" in said, hub.tokens) == (1, True, [])
    monkeypatch.setenv("HF_TOKEN", "hf_refused")
    code, said = ran("trial", "-o", str(tmp_path / "out"), "--push", "me/mine")
    assert (code, "did not take 'me/mine'" in said, "hf_refused" in said) == (1, True, False)
    assert (tmp_path / "out" / ADAPTER_WEIGHTS).is_file()
