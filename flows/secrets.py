"""The judge's API key: from the environment, or from a Prefect Secret block. It never leaves this process."""

import os

from cyclealign.config import JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.loop.backends import backend_of
from cyclealign.loop.ports import key_from_environment


def api_key(judge: JudgeSettings) -> str:
    """Return the judge's key. Call it outside an event loop: inside one, Prefect's blocks load differently.

    Raises:
        BadConfig: there is none; the message names where it was looked for.
    """
    if judge.api_key_block and backend_of(judge).needs_key and not os.environ.get(judge.api_key_variable):
        return key_in_block(judge.api_key_block)
    return key_from_environment(judge)


def key_in_block(name: str) -> str:
    """Return the value of a Prefect Secret block.

    Raises:
        BadConfig: there is no such block.
    """
    from prefect.blocks.system import Secret

    try:
        block = Secret.load(name)
    except ValueError as error:
        raise BadConfig(f"There is no Secret block '{name}'. Create it in the Prefect UI under Blocks.") from error
    assert isinstance(block, Secret)  # outside an event loop, load is not a coroutine
    return str(block.get())
