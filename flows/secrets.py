"""The judge's API key: from the environment, or from a Prefect Secret block. It is kept in this process alone."""

import os

from cyclealign.config import JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.loop.backends import backend_of


def api_key(judge: JudgeSettings) -> str:
    """The judge's key. Call it outside an event loop: Prefect's blocks load otherwise inside one.

    Raises:
        BadConfig: there is none, naming where it was looked for.
    """
    if not backend_of(judge).needs_key:
        return "no-key"  # never send a real key to a judge that asks for none
    if key := os.environ.get(judge.api_key_variable):
        return key
    if judge.api_key_block:
        return key_in_block(judge.api_key_block)
    raise BadConfig(
        f"No key for the judge: set the environment variable {judge.api_key_variable}, or name a Prefect Secret block "
        "in judge.api_key_block. For a local server without a key, set the variable to any text."
    )


def key_in_block(name: str) -> str:
    """The value of a Prefect Secret block."""
    from prefect.blocks.system import Secret

    try:
        block = Secret.load(name)
    except ValueError as error:
        raise BadConfig(f"There is no Secret block '{name}'. Create it in the Prefect UI under Blocks.") from error
    assert isinstance(block, Secret)  # outside an event loop, load is not a coroutine
    return str(block.get())
