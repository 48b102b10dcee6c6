"""From a config to working parts: the one place where store, policy and judge are wired together."""

import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig
from cyclealign.errors import PolicyError
from cyclealign.files import home
from cyclealign.loop.backends import backend_of
from cyclealign.loop.concurrency import WorkSignal, as_they_come
from cyclealign.loop.judge_session import calls_at_once, judge_of
from cyclealign.loop.lease import this_owner
from cyclealign.loop.ports import Ports
from cyclealign.loop.settings import policy_settings
from cyclealign.policy import Policy, weights
from cyclealign.progress import announce, report_progress
from cyclealign.records import Adapter, Round
from cyclealign.store import Store

T = TypeVar("T")
# One piece of judging: it asks what it must, and returns what it made of the replies.
Job = Callable[[AskJudge], Awaitable[T]]


@dataclass
class RoundSession:
    """The parts of one run. Policy and judge are made when first wanted: a finished round needs neither."""

    config: ExperimentConfig
    store: Store
    stack: ExitStack
    ports: Ports = field(default_factory=Ports)
    _seen: dict[str, weights.FileStates] = field(default_factory=dict)

    @cached_property
    def run(self) -> str:
        """The id of the run."""
        return self.ports.run_id()

    @cached_property
    def owner(self) -> str:
        """Who holds the rounds that this run advances."""
        return this_owner(self.run)

    def work_by(self, config: ExperimentConfig) -> None:
        """Take on other settings; a policy or a judge that was made by others is made anew when it is next wanted."""
        before, self.config = self.config, config
        if policy_settings(before) != policy_settings(config):
            self.__dict__.pop("model_folder", None)
            if (policy := self.__dict__.pop("policy", None)) is not None:
                policy.close()
        if before.judge != config.judge:
            self.__dict__.pop("judge_address", None)

    @cached_property
    def model_folder(self) -> str:
        """The policy's model: a folder or hub id; the demo's own is trained on first use."""
        if self.config.policy.model != "demo":
            return self.config.policy.model
        from cyclealign.demo.policy import demo_policy

        return str(
            demo_policy(home() / "models", lambda done, of: report_progress("train the demo's policy", done, of))
        )

    @property
    def base_model(self) -> str:
        """The name of the base model in the history."""
        if self.config.policy.model == "demo":
            return f"demo/{Path(self.model_folder).name}"
        revision = self.config.policy.revision
        return f"{self.config.policy.model}@{revision}" if revision else self.config.policy.model

    @cached_property
    def policy(self) -> Policy:
        policy = self._served_policy() if self.config.policy.kind == "vllm" else self._policy_here()
        self.stack.callback(policy.close)
        return policy

    def _policy_here(self) -> Policy:
        from cyclealign.policy.transformers_policy import TransformersPolicy

        return TransformersPolicy(self.config.policy, self.model_folder)

    def _served_policy(self) -> Policy:
        from cyclealign.policy.vllm_policy import VllmPolicy

        config = self.config
        rank = config.training.lora_rank if config.training.method == "lora" else None
        return VllmPolicy(config.policy, config.engine, self.model_folder, rank, announce)

    @cached_property
    def judge_address(self) -> str | None:
        """Return the judge's base URL, starting a local judge; None: the client's default."""
        return self.stack.enter_context(backend_of(self.config.judge).start())

    @property
    def templates(self) -> Path:
        return Path(self.config.templates)

    def ask(self, round_: Round, what: str, jobs: Sequence[Job[T]]) -> list[T]:
        """Run ``jobs`` together; each puts its questions to the judge and makes something of the replies."""
        done = 0

        def counted(job: Job[T]) -> Job[T]:
            async def run(ask_judge: AskJudge) -> T:
                nonlocal done
                result = await job(ask_judge)
                done += 1
                report_progress(what, done, len(jobs))
                return result

            return run

        report_progress(what, 0, len(jobs))
        return self.ask_as_they_come(round_, lambda: map(counted, jobs), WorkSignal.after_the_last())

    def ask_as_they_come(self, round_: Round, look: Callable[[], Iterable[Job[T]]], bell: WorkSignal) -> list[T]:
        """Run the jobs that ``look`` finds each time the bell rings; they need not be there from the beginning."""

        async def run() -> list[T]:
            async with judge_of(self.config, self.store, self.ports, lambda: self.judge_address, round_) as ask_judge:
                calls = calls_at_once(self.config.judge)
                # A few more lists than calls: the next request is ready when there is room for it.
                return await as_they_come(ask_judge, look, bell, calls + calls // 4 + 1)

        with passed_over_by_the_collector():
            return bell.run(run)

    def use(self, adapter: Adapter | None) -> None:
        """Put an adapter on the policy, after a look that it is the one that the history tells of."""
        if adapter is not None:
            self._refuse_other_weights(adapter)
        self.policy.use(adapter)

    def _refuse_other_weights(self, adapter: Adapter) -> None:
        """Files of unchanged size and time are not read again: whole weights are many GB, and used for each batch."""
        folder = Path(adapter.path)
        state = weights.file_states(folder)
        if self._seen.get(adapter.content_hash) == state:
            return
        if weights.content_hash(folder) != adapter.content_hash:
            raise PolicyError(
                f"The weights in {folder} are missing or not those that were recorded (hash "
                f"{adapter.content_hash[:12]}). Restore them from a backup, or start a new experiment."
            )
        self._seen[adapter.content_hash] = state

    def rest(self) -> None:
        """Let the policy, if there is one yet, give the accelerator's memory up until it is asked again."""
        if "policy" in self.__dict__:
            self.policy.release_memory()

    @contextmanager
    def timed(self, round_: Round, step: str) -> Iterator[None]:
        """Add the seconds of the block to the round's step, whatever ends it."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.store.rounds.add_step_seconds(round_.id, step, time.monotonic() - started)


@contextmanager
def passed_over_by_the_collector() -> Iterator[None]:
    """Keep the garbage collector from going through all that is in memory already, again and again.

    A judge's thousands of replies set off full collections; with Prefect loaded each holds up every call by 0.2 s.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def open_session(config: ExperimentConfig, ports: Ports | None = None) -> Iterator[RoundSession]:
    """Open the store and put the tools away at the end."""
    with ExitStack() as stack:
        store = stack.enter_context(Store.open())
        yield RoundSession(config, store, stack, ports or Ports())
