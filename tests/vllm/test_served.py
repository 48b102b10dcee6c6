"""A managed vLLM server: samples and their log-probs, adapters, attestation, access control and shutdown."""

import shutil
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from cyclealign.config import EngineSettings, TrainingSettings
from cyclealign.errors import EngineFailed, EngineRefused, WrongWeights
from cyclealign.policy.attestation import PROBE_FILE
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Adapter, Prompt
from tests.support.launched import until
from tests.vllm.conftest import PROMPTS

pytestmark = pytest.mark.vllm
PER_TOKEN = 1e-3  # float32, nats


def family(policy: VllmPolicy) -> list[psutil.Process]:
    """The supervisor and all its descendants."""
    head = psutil.Process(policy.server.process_group)
    return [head, *head.children(recursive=True)]


def largest_difference(rows, others):
    return max(abs(a - b) for row, other in zip(rows, others, strict=True) for a, b in zip(row, other, strict=True))


def test_answers_have_the_form_of_the_twins(policy, twin):
    """Prevents answers that lack their end token, are counted without it, or carry log-probs after temperature."""
    policy.use(None)
    rows = policy.answer(PROMPTS, 4, seed=5)
    assert [len(row) for row in rows] == [4] * len(PROMPTS)
    stopped = [answer for row in rows for answer in row if answer.finish_reason == "stop"]
    assert stopped
    end = twin._tokenizer.eos_token_id
    assert all(answer.token_ids[-1] == end and answer.token_ids.count(end) == 1 for answer in stopped)
    for prompt, row in zip(PROMPTS, rows, strict=True):
        again = twin.logprob_sums(prompt, [answer.token_ids for answer in row])
        for answer, other in zip(row, again, strict=True):
            assert answer.logprob_sum == pytest.approx(other, abs=PER_TOKEN * len(answer.token_ids))
            assert answer.text == twin._tokenizer.decode(answer.token_ids, skip_special_tokens=True).strip()


def test_the_same_seed_gives_the_same_answers_and_prompts_are_sampled_independently(policy):
    """Prevents one random stream for all prompts, and a resumed round with other answers than were judged."""
    policy.use(None)
    first = policy.answer(PROMPTS[:2], 4, seed=11)
    assert first == policy.answer(PROMPTS[:2], 4, seed=11)
    assert first != policy.answer(PROMPTS[:2], 4, seed=12)
    assert len({answer.text for row in first for answer in row}) > 4


def test_many_long_prompts_concurrently(policy):
    """Prevents an engine crash if prompts do not fit one step together: vLLM on a CPU, with seeds."""
    long = [
        Prompt.of(({"role": "user", "content": f"{number} " + "how can I bake bread at home " * 22},))
        for number in range(24)
    ]
    assert sum(len(policy.prompt_ids(prompt)) for prompt in long) > 2_048
    policy.use(None)
    incarnation = policy.server.incarnation
    assert [len(row) for row in policy.answer(long, 4, seed=8)] == [4] * 24
    assert policy.server.incarnation == incarnation


def test_each_adapters_token_logprobs_equal_its_twins(policy, twin, adapters):
    """Prevents a stale adapter: base, first, second, and back, each with the log-probs of its own weights."""
    rows = [
        [*policy.prompt_ids(prompt), *answer.token_ids]
        for prompt in PROMPTS[:3]
        for answer in twin.answer([prompt], 2, 3)[0]
    ]
    seen = []
    for adapter in (None, adapters[0], adapters[1], adapters[0], None):
        policy.use(adapter)
        twin.use(adapter)
        seen.append(policy.token_logprobs(rows))
        assert largest_difference(seen[-1], twin.token_logprobs(rows)) < PER_TOKEN
    assert largest_difference(seen[1], seen[3]) < PER_TOKEN
    assert min(largest_difference(seen[0], seen[1]), largest_difference(seen[1], seen[2])) > 20 * PER_TOKEN


def test_adapters_are_swapped_under_load(policy, twin, adapters):
    """Prevents answers that come from one adapter and are recorded under another."""
    rounds: list[list[list[object]]] = []
    go_on = threading.Event()

    def load() -> None:
        while not go_on.is_set():
            rounds.append(policy.answer(PROMPTS, 2, seed=len(rounds)))

    policy.use(adapters[0])
    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number, adapter in enumerate([adapters[1], adapters[0], adapters[1]], 1):
            policy.use(adapter)
            until("answers after the swap", lambda wanted=number * 2: len(rounds) >= wanted or not thread.is_alive())
    finally:
        go_on.set()
        thread.join()
    by_hash = {adapter.content_hash: adapter for adapter in adapters}
    answers = [(prompt, answer) for row in rounds for prompt, each in zip(PROMPTS, row, strict=True) for answer in each]
    assert {answer.adapter_hash for _, answer in answers} == set(by_hash)
    for content_hash, adapter in by_hash.items():
        twin.use(adapter)
        for prompt, answer in [each for each in answers if each[1].adapter_hash == content_hash][:24]:
            (expected,) = twin.logprob_sums(prompt, [answer.token_ids])
            assert answer.logprob_sum == pytest.approx(expected, abs=PER_TOKEN * len(answer.token_ids))


def test_an_engine_that_serves_the_parent_is_refused(policy, adapters, monkeypatch):
    """Prevents the silent failure of engines: the swap reports success, and the old weights keep answering."""
    policy.use(adapters[0])
    load = type(policy.server.ready_client()).load_adapter
    stale = adapters[0].path
    monkeypatch.setattr(
        type(policy.server.ready_client()), "load_adapter", lambda self, name, folder: load(self, name, stale)
    )
    for _ in range(2):  # it stays refused, and nothing is sampled
        with pytest.raises(WrongWeights, match=r"does not serve|stale weights"):
            policy.use(adapters[1])
    with pytest.raises(WrongWeights):
        policy.answer(PROMPTS[:1], 1, seed=0)


def test_a_folder_with_other_weights_is_refused(policy, adapters, tmp_path):
    """Prevents an adapter that was mixed up on disk from answering."""
    folder = shutil.copytree(adapters[0].path, tmp_path / "mixed")
    shutil.copy(Path(adapters[1].path) / PROBE_FILE, folder / PROBE_FILE)
    with pytest.raises(WrongWeights):
        policy.use(Adapter("mixed", str(folder), "f" * 64, None))
    (folder / PROBE_FILE).unlink()
    with pytest.raises(WrongWeights, match=r"no probe\.json"):
        policy.use(Adapter("mixed", str(folder), "e" * 64, None))


def test_an_adapter_that_cannot_be_loaded_is_reported(policy, tmp_path):
    """Prevents answers of the previous adapter after a load that failed."""
    with pytest.raises(EngineRefused, match="load_lora_adapter"):
        policy.use(Adapter("none", str(tmp_path / "nowhere"), "d" * 64, None))


def test_it_sleeps_wakes_and_is_attested_again(policy, adapters, monkeypatch):
    """Prevents an adapter that is silently not applied after a wake-up. (A CPU only pauses.)"""
    for level in ("level_1", "level_2"):
        policy.use(adapters[1])
        before = policy.token_logprobs([[5, 6, 7, 8, 9, 10]])
        monkeypatch.setattr(policy.server, "settings", policy.server.settings.model_copy(update={"rest": level}))
        incarnation = policy.server.incarnation
        policy.release_memory()
        assert httpx.get(f"{policy.server._client.url}/is_sleeping", headers=key_of(policy)).json()["is_sleeping"]
        assert largest_difference(policy.token_logprobs([[5, 6, 7, 8, 9, 10]]), before) < PER_TOKEN
        assert policy.server.incarnation == incarnation + 1
        assert policy._weights.active.incarnation == incarnation + 1


def key_of(policy: VllmPolicy) -> dict[str, str]:
    return {"Authorization": policy.server._client._http.headers["Authorization"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", "/health"), ("POST", "/sleep"), ("POST", "/collective_rpc"), ("GET", "/metrics")],
)
def test_nothing_answers_without_the_key(policy, method, path):
    """Prevents any program of this machine, or a page in its browser, from driving the engine."""
    policy.use(None)
    url = f"http://127.0.0.1:{policy.server._server.port}{path}"
    assert httpx.request(method, url).status_code == 401
    assert httpx.request(method, url, headers={"Authorization": "Bearer no"}).status_code == 401


def test_the_key_is_in_no_argument_and_the_server_listens_on_loopback_alone(policy):
    """Prevents a key that every user of the machine can read, and a server that the network can reach."""
    policy.use(None)
    key = key_of(policy)["Authorization"].removeprefix("Bearer ")
    processes = family(policy)
    assert len(processes) >= 3
    assert not any(key in argument for each in processes for argument in each.cmdline())
    assert key not in policy.server._server.log.read_text()
    listening = [
        each.laddr.ip
        for process in processes
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert set(listening) <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in listening


def test_an_existing_server_gives_the_same_answers(policy, settings, twin, adapters, monkeypatch):
    """Prevents other candidates, or none, from an existing server: only address and key differ."""
    policy.use(None)
    monkeypatch.setenv("OUR_KEY", key_of(policy)["Authorization"].removeprefix("Bearer "))
    address = f"http://127.0.0.1:{policy.server._server.port}/v1"
    remote = VllmPolicy(
        settings,
        EngineSettings(base_url=address, api_key_variable="OUR_KEY"),
        settings.model,
        TrainingSettings(),
        lambda text: None,
    )
    try:
        remote.use(adapters[0])
        twin.use(adapters[0])
        (row,) = remote.answer(PROMPTS[:1], 3, seed=2)
        expected = twin.logprob_sums(PROMPTS[0], [answer.token_ids for answer in row])
        assert [answer.logprob_sum for answer in row] == pytest.approx(expected, abs=24 * PER_TOKEN)
        assert {answer.adapter_hash for answer in row} == {adapters[0].content_hash}
        assert remote.context_tokens == policy.context_tokens
        remote.release_memory()  # leaves an existing server alone
    finally:
        remote.close()
    assert policy.server.ready_client().healthy()


def test_a_server_that_does_not_answer_is_reported(settings):
    """Prevents a traceback that does not name the setting."""
    nobody = VllmPolicy(settings, EngineSettings(base_url="http://127.0.0.1:9/v1"), settings.model, TrainingSettings())
    with pytest.raises(EngineFailed, match=r"No vLLM server answers at http://127\.0\.0\.1:9/v1"):
        nobody.use(None)


def test_an_engine_that_is_killed_during_a_round_is_restarted(policy, twin, adapters, messages):
    """Prevents a round that is lost with its engine, and an engine process that outlives its server."""
    policy.use(adapters[0])
    before = policy.answer(PROMPTS[:2], 2, seed=4)
    processes = family(policy)
    core = next(each for each in processes if "EngineCore" in " ".join(each.cmdline()))
    core.kill()
    after = policy.answer(PROMPTS[:2], 2, seed=4)
    assert [[answer.token_ids for answer in row] for row in after] == [[a.token_ids for a in row] for row in before]
    assert {answer.adapter_hash for row in after for answer in row} == {adapters[0].content_hash}
    assert any("exited or stopped answering during the round" in text for text in messages)
    gone = [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not gone


def test_it_ends_with_its_policy(policy):
    """Prevents an engine that holds memory after the run. (The last test: another one would restart it.)"""
    policy.use(None)
    processes = family(policy)
    policy.close()
    assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
