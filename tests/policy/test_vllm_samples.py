"""Samples through vLLM's API, by a stand-in server on the same model: they are read as those of transformers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Message, Prompt
from tests.support.chat_models import make_chat_model

pytestmark = pytest.mark.slow

PROMPTS = [Prompt.of((Message(role="user", content=text),)) for text in ("how do i bake bread", "fix the pump")]


class StandIn:
    """Answers as vLLM does: end tokens of the request stay in ``token_ids``; samples by a `TransformersPolicy`."""

    def __init__(self, twin):
        self.twin, self.requests = twin, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply({"data": [{"id": "base", "max_model_len": 256}], "version": "stand-in"})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply({"model": body["model"], "choices": owner.choices(body)})

            def reply(self, values):
                data = json.dumps(values).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def choices(self, body):
        self.requests.append(body)
        prompt = Prompt("x", (), tuple(body["prompt"]))
        with self.lock:
            (answers,) = self.twin.answer([prompt], body["n"], seed=body["seed"] % 2**32)
            values = self.twin.token_logprobs([[*body["prompt"], *answer.token_ids] for answer in answers])
        return [
            {
                "index": index,
                "token_ids": list(answer.token_ids),
                "logprobs": {"token_logprobs": row[-len(answer.token_ids) :]},
                "finish_reason": "stop" if answer.token_ids[-1] in body["stop_token_ids"] else "length",
            }
            for index, (answer, row) in enumerate(zip(answers, values, strict=True))
        ]


@pytest.fixture(scope="module", params=["qwen3_thinking", "gemma2_no_system", "no_pad_token"])
def folder(request, tmp_path_factory):
    return make_chat_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("thinking", ["strip", "keep"])
def test_both_engines_read_a_sample_alike(folder, thinking):
    """Prevents answers whose end, text, thought or score depends on the engine."""
    settings = PolicySettings(max_new_tokens=24, thinking=thinking, system_prompt="be safe")
    twin = TransformersPolicy(settings, str(folder))
    stand_in = StandIn(twin)
    engine = EngineSettings(base_url=f"http://127.0.0.1:{stand_in.server.server_port}/v1")
    served = VllmPolicy(settings, engine, str(folder), TrainingSettings(), lambda text: None)
    try:
        rows = served.answer(PROMPTS, 6, seed=3)
    finally:
        served.close()
        stand_in.server.shutdown()
        stand_in.server.server_close()
    assert sorted(map(tuple, (body["prompt"] for body in stand_in.requests))) == sorted(
        tuple(twin.prompt_ids(prompt)) for prompt in PROMPTS
    )
    assert all(body["stop_token_ids"] == sorted(twin._samples.end_tokens) for body in stand_in.requests)
    assert len(twin._samples.end_tokens) == 2
    by_prompt = {tuple(body["prompt"]): body["seed"] % 2**32 for body in stand_in.requests}
    for prompt, row in zip(PROMPTS, rows, strict=True):
        (expected,) = twin.answer([prompt], 6, seed=by_prompt[tuple(twin.prompt_ids(prompt))])
        for answer, other in zip(row, expected, strict=True):
            assert (answer.text, answer.token_ids, answer.finish_reason) == (
                other.text,
                other.token_ids,
                other.finish_reason,
            )
            assert answer.logprob_sum == pytest.approx(other.logprob_sum, abs=1e-3)
            assert (answer.thought is None) == (other.thought is None)
            if answer.thought and other.thought:
                assert (answer.thought.text, answer.thought.tokens) == (other.thought.text, other.thought.tokens)
