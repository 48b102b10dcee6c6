"""Runs `align` in child processes of its own that are killed at stated points. Started by test_recovery.

It imports everything once and forks for each run, so that a dozen runs cost a dozen rounds and not a dozen imports.
``python -m tests.recovery.driver CONFIG.toml KILLS.json``: KILLS is a list of [kind, count]; a line of JSON a run.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cyclealign.config import load_config
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import CallOutcome
from cyclealign.store.calls import CallStore
from cyclealign.training import trainers
from flows.align import align

KINDS = (
    *("after commit", "before commit", "in generation", "in training"),
    *("in generation, once a reply is stored", "with a reply, in generation"),
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kind: str, count: int) -> None:
    """Make this process kill itself the ``count``-th time that it comes to a point of this kind."""
    left = [count]

    def reached(*_: object) -> None:
        left_over(left, die)

    if kind == "in generation":
        before_call(TransformersPolicy, "answer", reached)
    elif kind == "in generation, once a reply is stored":
        stored = threading.Event()
        after_call(CallStore, "record", stored.set, of_the_ranking)
        before_call(TransformersPolicy, "answer", lambda: left_over(left, lambda: (wait_for(stored), die())))
    elif kind == "with a reply, in generation":
        generating = threading.Event()
        before_call(TransformersPolicy, "answer", lambda: left_over(left, lambda: (generating.set(), wait_for_kill())))
        before_call(CallStore, "record", lambda: (wait_for(generating), die()), of_the_ranking)
    elif kind == "in training":
        before_call(trainers.ReportSteps, "on_step_end", reached)
    elif kind == "before commit":
        sa.event.listen(Engine, "commit", reached)
    else:
        after_commit(reached)


def of_the_ranking(_: CallStore, __: int, outcomes: Sequence[CallOutcome]) -> bool:
    """Return whether calls rank the policy's answers; calls on control lists come before any answer exists."""
    return any(each.call.purpose == "rank" for each in outcomes)


def always(*_: object) -> bool:
    return True


def before_call(owner: type, name: str, hook: object, when: Callable[..., bool] = always) -> None:
    original = getattr(owner, name)

    def wrapped(*args: object, **kwargs: object) -> object:
        if when(*args):
            hook()  # type: ignore[operator]
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after_call(owner: type, name: str, hook: Callable[[], object], when: Callable[..., bool] = always) -> None:
    original = getattr(owner, name)

    def wrapped(*args: object, **kwargs: object) -> object:
        result = original(*args, **kwargs)
        if when(*args):
            hook()
        return result

    setattr(owner, name, wrapped)


def left_over(left: list[int], hook: Callable[[], object]) -> None:
    """Call the hook the time that was asked for."""
    left[0] -= 1
    if left[0] == 0:
        hook()


def wait_for(event: threading.Event) -> None:
    """Both sides of a round are at work at once, so this comes; without the time limit a mistake would hang."""
    assert event.wait(120)


def wait_for_kill() -> None:
    """The other thread kills this process."""
    wait_for(threading.Event())


def after_commit(hook: object) -> None:
    from sqlalchemy.orm import Session

    sa.event.listen(Session, "after_commit", hook)


def run(config_path: Path, kill: tuple[str, int] | None) -> dict[str, object]:
    """One run in a forked child; how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if kill:
                arm(*kill)
            align(load_config(config_path))
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return {"kill": kill, "killed": os.WIFSIGNALED(status), "code": os.waitstatus_to_exitcode(status)}


def main() -> None:
    config_path, kills = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    for kill in [*kills, None]:
        outcome = run(config_path, tuple(kill) if kill else None)
        print(json.dumps(outcome), flush=True)
        if not outcome["killed"]:
            return


if __name__ == "__main__":
    main()
