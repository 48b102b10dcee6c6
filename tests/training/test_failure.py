"""The cause of a failed training in its message."""

from pathlib import Path
from typing import Any

import pytest

from cyclealign.config import TrainingSettings
from cyclealign.training.failure import failure_message, is_out_of_memory, last_exception

LOG = """Traceback (most recent call last):
  File "worker.py", line 1, in <module>
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
Traceback (most recent call last):
  File "launch.py", line 1, in <module>
subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.
"""


def test_the_last_exception_is_that_of_the_training_and_not_of_its_launcher() -> None:
    """Prevents a message that says only that a command failed."""
    assert last_exception(LOG) == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert last_exception("Loading weights: 100 %\n") is None


def advice(**settings: Any) -> str:
    return failure_message("OutOfMemoryError: CUDA", "", Path("x.log"), TrainingSettings(**settings))


def test_the_advice_names_settings_that_help_and_are_not_in_use() -> None:
    """Prevents advice that is followed already, or that the method does not take."""
    assert 'training.quantise = "nf4"' in advice()
    assert "training.quantise" not in advice(quantise="nf4")
    assert "gradient_checkpointing = true" in advice(gradient_checkpointing=False)
    assert "gradient_checkpointing" not in advice(gradient_checkpointing=True)
    whole = advice(method="full")
    assert "training.quantise" not in whole
    assert '"adafactor"' in whole
    assert 'training.method = "lora"' in whole
    assert '"adafactor"' not in advice(method="full", optim="adafactor")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OutOfMemoryError: CUDA out of memory", True),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", True),
        ("died with <Signals.SIGKILL: 9>.", True),
        ("ValueError: unknown key in the config", False),
    ],
)
def test_a_lack_of_memory_names_the_settings_that_help(text: str, expected: bool) -> None:
    """Prevents a user from lowering settings that the open round does not read, or from searching for the right one."""
    assert is_out_of_memory(text) is expected
    message = failure_message(text, "", Path("/logs/x.log"), TrainingSettings())
    assert ("training.tokens_at_once" in message) is expected
    assert text in message
    assert "/logs/x.log" in message
    assert "begins at training" in message
