"""`cyclealign chat`: the answers of the right weights next to each other, and text that cannot control the terminal."""

import io
import sys

import pytest

from cyclealign.cli import chat as chat_
from cyclealign.config import PolicySettings
from cyclealign.policy import Answer
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Prompt
from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.trained_round import add_round, make_adapter

pytestmark = pytest.mark.slow

LINE = "how do i bake bread"


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    return [make_adapter(tiny_model, tmp_path_factory.mktemp(f"adapter-{seed}"), seed) for seed in (1, 2)]


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys, tiny_model, adapters):
    """Return a function that runs `cyclealign chat` on lines of input: rounds 1 and 2, both accepted."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    with Store.open() as store:
        for adapter in adapters:
            add_round(store, tiny_model, adapter)

    def run(lines: str, *args: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        code, output, errors = run_command(capsys, "chat", "trial", *args)
        return code, output + errors

    return run


@pytest.fixture
def used(monkeypatch):
    """The hash of the weights and the seed behind each answer."""
    noted = []
    answer = TransformersPolicy.answer

    def noting(self, prompts, count, seed):
        (row,) = answer(self, prompts, count, seed)
        noted.append((row[0].adapter_hash, seed))
        return [row]

    monkeypatch.setattr(TransformersPolicy, "answer", noting)
    return noted


def test_both_answers_are_those_of_their_weights(ran, used, tiny_model, adapters):
    """Prevents columns in the wrong order, and the base model's answer under the adapter's name."""
    code, said = ran(f"{LINE}\n\nfix a tyre\n")
    assert code == 0
    assert used == [(adapters[1].content_hash, 0), (None, 0), (adapters[1].content_hash, 1), (None, 1)]
    assert said.index("round 2") < said.index("base")
    policy = TransformersPolicy(PolicySettings(max_new_tokens=8), str(tiny_model))
    ((base,),) = policy.answer([Prompt.of(({"role": "user", "content": LINE},))], 1, 0)
    assert base.text.split()[0] in said


@pytest.mark.parametrize(("against", "place"), [("1", 0), ("parent", 0)])
def test_other_weights_are_compared(ran, used, adapters, against, place):
    code, _ = ran(f"{LINE}\n", "--against", against)
    assert (code, [found for found, _ in used]) == (0, [adapters[1].content_hash, adapters[place].content_hash])


def test_a_prompt_that_does_not_fit_is_refused_and_the_next_one_answered(ran, used):
    """Prevents a long line from ending the session."""
    code, said = ran("bread " * 200 + f"\n{LINE}\n", "--max-new-tokens", "20")
    assert (code, len(used)) == (0, 2)
    assert "has room for 108 beside 20 new ones" in " ".join(said.split())


def test_unknown_sides_are_named(ran):
    code, said = ran("", "--against", "teacher")
    assert (code, "takes base, parent or the number of a round" in said) == (1, True)


def test_control_characters_of_a_model_are_shown_as_codes(ran):
    """Prevents an answer from moving the cursor, clearing the screen or turning text round."""
    from cyclealign.config import ExperimentConfig

    hostile = Answer("\x1b[2J[bold]gone\u202e\x9b31m\r!", (1,), -1.0, "length")
    text = chat_.shown(hostile, ExperimentConfig())
    assert text.isprintable() or set(text) - {"\n"} <= set(filter(str.isprintable, text))
    assert "\\u001b[2J[bold]gone" in text
    assert "cut at 48 tokens" in text
