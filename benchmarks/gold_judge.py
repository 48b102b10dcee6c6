"""A judge of the demo world that sees gold quality through noise, so that its accuracy can be chosen.

It stands for judges of a given accuracy or bias. It ignores demonstrations, unlike the demo's simulated judge.
"""

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import uvicorn

from cyclealign.demo.judge.model import NOTHING_TO_RANK, Behaviour, Verdict
from cyclealign.demo.judge.prompt_parser import read_blocks
from cyclealign.demo.judge.server import Settings, make_app
from cyclealign.demo.world.dataset import quality

Judge = Callable[[Sequence[str], Behaviour], Verdict]


def gold_judge(noise: float, length_bias: float = 0.0) -> Judge:
    """Return a judge that ranks by gold quality + length_bias * words + a normal error.

    Args:
        noise: standard deviation of the error, in units of gold quality (0 to 1). An answer to a question has the same
            error in every request, so that asking again does not make the judge more accurate.
        length_bias: quality that a word is worth to it.
    """

    def judge(messages: Sequence[str], behaviour: Behaviour) -> Verdict:
        blocks = read_blocks(messages[-1]) if messages else []
        if not blocks or blocks[-1].ranking is not None or not blocks[-1].answers:
            return Verdict(NOTHING_TO_RANK)
        block = blocks[-1]
        scores = [
            quality(block.question, text) + length_bias * len(text.split()) + noise * error(block.question, text)
            for text in block.answers.values()
        ]
        order = np.argsort(-np.array(scores), kind="stable")
        ranking = tuple(list(block.answers)[place] for place in order)
        return Verdict(json.dumps({"ranking": list(ranking)}), ranking)

    return judge


def error(question: str, answer: str) -> float:
    """Return a standard normal number that depends on question and answer alone."""
    seed = hashlib.sha256(f"{question}\0{answer}".encode(errors="surrogatepass")).digest()[:8]
    return float(np.random.default_rng(int.from_bytes(seed)).normal())


@contextmanager
def served(judge: Judge) -> Iterator[str]:
    """Yield the base URL of a judge that is served on loopback by a thread of this process."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = make_app(Settings(judge=judge))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
