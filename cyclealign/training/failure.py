"""The cause of a failed training, in words: the last exception, the log, and the settings that help."""

import re
from pathlib import Path

from cyclealign.config import TrainingSettings

_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)): *(.*)$", re.MULTILINE
)
_LAUNCHERS_OWN = ("CalledProcessError", "ChildFailedError")
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|can't allocate memory|Cannot allocate memory|MemoryError|SIGKILL|exit status -9", re.I
)
MAX_CAUSE_CHARS = 500


def last_exception(log: str) -> str | None:
    """Return type and message of the last exception in a log, without those of the launcher; None if there is none."""
    found = [f"{name}: {text}" for name, text in _EXCEPTION.findall(log) if name not in _LAUNCHERS_OWN]
    return found[-1] if found else None


def is_out_of_memory(text: str) -> bool:
    """Return whether the text is that of a process that ran out of memory, or that the system killed for it."""
    return _OUT_OF_MEMORY.search(text) is not None


def memory_advice(settings: TrainingSettings) -> str:
    """Return the settings that save memory and are not in use yet, those that cost least first."""
    lora = settings.method == "lora"
    remedies = [
        (True, "lower training.tokens_at_once, down to the longest answer with its prompt"),
        (not settings.gradient_checkpointing, "set training.gradient_checkpointing = true (the default on a GPU)"),
        (settings.bf16 is False and not settings.fp16, "remove training.bf16 = false"),
        (lora and not settings.quantise, 'set training.quantise = "nf4", which holds the base model in 4 bits (a GPU)'),
        (
            not lora and settings.optim.startswith("adamw_torch"),
            'set training.optim = "adafactor" or "paged_adamw_8bit"',
        ),
        (True, 'free the memory of vLLM with engine.rest = "stop"'),
        (True, "spread the model over several GPUs with training.accelerate_config"),
        (not lora, 'begin a new experiment with training.method = "lora"'),
    ]
    return f"It ran out of memory: {'; or '.join(words for helps, words in remedies if helps)}. "


def failure_message(cause: str, output: str, log: Path, settings: TrainingSettings) -> str:
    """Return the error message of a failed training.

    Args:
        cause: the exception, as ``type: message``.
        output: the end of the log.
        log: the file with everything.
    """
    advice = memory_advice(settings) if is_out_of_memory(f"{cause}\n{output}") else ""
    return (
        f"Training failed: {cause[:MAX_CAUSE_CHARS]}\n{advice}The log is {log}. The judged lists are kept: the next "
        "start begins at training, with the settings of section [training] as they are then."
    )
