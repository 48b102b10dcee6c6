"""Runs `align` in child processes of its own that are killed at stated points. Started by test_recovery.

It imports everything once and forks for each run, so that a dozen runs cost a dozen rounds and not a dozen imports.
``python -m tests.recovery.driver CONFIG.toml KILLS.json``: KILLS is a list of [kind, count]; a line of JSON a run.
"""

import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cyclealign import trainers
from cyclealign.config import load_config
from cyclealign.policy.transformers import TransformersPolicy
from flows.align import align

KINDS = ("after commit", "before commit", "in generation", "in training")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kind: str, count: int) -> None:
    """Make this process kill itself the ``count``-th time that it comes to a point of this kind."""
    left = [count]

    def reached(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            die()

    if kind == "in generation":
        before_call(TransformersPolicy, "answer", reached)
    elif kind == "in training":
        before_call(trainers.ReportSteps, "on_step_end", reached)
    elif kind == "before commit":
        sa.event.listen(Engine, "commit", reached)
    else:
        after_commit(reached)


def before_call(owner: type, name: str, hook: object) -> None:
    original = getattr(owner, name)

    def wrapped(*args: object, **kwargs: object) -> object:
        hook()  # type: ignore[operator]
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


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
