"""The round session: store, policy and judge, made from the settings. The only place where they are wired together."""

import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cyclealign.chat_api.judge_contact import JudgeContact
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import PolicyError
from cyclealign.files import home
from cyclealign.loop.backends import backend_of
from cyclealign.loop.concurrency import WorkSignal, consume_jobs
from cyclealign.loop.judge_session import max_concurrent_calls, open_judge
from cyclealign.loop.lease import KeptLease, owner_name
from cyclealign.loop.ports import Ports
from cyclealign.loop.settings import policy_settings
from cyclealign.policy import Policy, weights
from cyclealign.progress import announce, report_progress
from cyclealign.records import Adapter, Round
from cyclealign.store import Store

T = TypeVar("T")
# Asks the judge as often as it needs and returns a value made from the replies.
JudgeJob = Callable[[AskJudge], Awaitable[T]]


@dataclass
class RoundSession:
    """The parts of one run. Policy and judge are made at their first use: a finished round needs neither."""

    config: ExperimentConfig
    store: Store
    stack: ExitStack
    ports: Ports = field(default_factory=Ports)
    lease: KeptLease | None = None  # of the open round; None: this session advances no round
    # Content hash of an adapter -> state of its files when the hash was last computed.
    _verified: dict[str, weights.FileStates] = field(default_factory=dict)
    # By judge: that of the rankings, and that of the duels.
    _contacts: dict[str, JudgeContact] = field(default_factory=dict)
    _addresses: dict[str, str | None] = field(default_factory=dict)

    @cached_property
    def run(self) -> str:
        """Return the id of the run; the same one throughout the session."""
        return self.ports.run_id()

    @cached_property
    def owner(self) -> str:
        """Return the name under which this run leases rounds."""
        return owner_name(self.run)

    def apply_settings(self, config: ExperimentConfig) -> None:
        """Switch to other settings; a policy or judge whose settings differ is made anew at its next use."""
        before, self.config = self.config, config
        if policy_settings(before) != policy_settings(config):
            self.__dict__.pop("model_folder", None)
            if (policy := self.__dict__.pop("policy", None)) is not None:
                policy.close()
        if (before.judge, before.examiner) != (config.judge, config.examiner):
            self._addresses.clear()
            self._contacts.clear()

    @cached_property
    def model_folder(self) -> str:
        """Return the policy's model, a folder or hub id; the demo's is trained at the first use."""
        if self.config.policy.model != "demo":
            return self.config.policy.model
        from cyclealign.demo.policy import demo_policy

        return str(
            demo_policy(home() / "models", lambda done, of: report_progress("train the demo's policy", done, of))
        )

    @property
    def base_model(self) -> str:
        """Return the name of the base model in the history."""
        if self.config.policy.model == "demo":
            return f"demo/{Path(self.model_folder).name}"
        revision = self.config.policy.revision
        return f"{self.config.policy.model}@{revision}" if revision else self.config.policy.model

    @cached_property
    def policy(self) -> Policy:
        """Return the policy; loads the model or starts its server."""
        policy = self._vllm_policy() if self.config.policy.kind == "vllm" else self._transformers_policy()
        self.stack.callback(policy.close)
        return policy

    def _transformers_policy(self) -> Policy:
        from cyclealign.policy.transformers_policy import TransformersPolicy

        return TransformersPolicy(self.config.policy, self.model_folder)

    def _vllm_policy(self) -> Policy:
        from cyclealign.policy.vllm_policy import VllmPolicy

        config = self.config
        return VllmPolicy(config.policy, config.engine, self.model_folder, config.training, announce)

    def judge_address(self, judge: JudgeSettings) -> str | None:
        """Return the judge's base URL, starting a local judge; None: the client's default."""
        if judge.model not in self._addresses:
            self._addresses[judge.model] = self.stack.enter_context(backend_of(judge).start())
        return self._addresses[judge.model]

    @property
    def templates(self) -> Path:
        """Return the folder of the judge's templates and written demonstrations."""
        return Path(self.config.templates)

    def run_jobs(
        self, round_: Round, label: str, jobs: Sequence[JudgeJob[T]], judge: JudgeSettings | None = None
    ) -> list[T]:
        """Run the jobs concurrently and return their results in the same order; ``label`` names the progress bar.

        Args:
            judge: the judge to ask; None: that of the rankings.
        """
        done = 0

        def counted(job: JudgeJob[T]) -> JudgeJob[T]:
            async def run(ask_judge: AskJudge) -> T:
                nonlocal done
                result = await job(ask_judge)
                done += 1
                report_progress(label, done, len(jobs))
                return result

            return run

        report_progress(label, 0, len(jobs))
        return self.consume_jobs(round_, lambda: map(counted, jobs), WorkSignal.closed(), judge)

    def consume_jobs(
        self,
        round_: Round,
        find_jobs: Callable[[], Iterable[JudgeJob[T]]],
        signal: WorkSignal,
        judge: JudgeSettings | None = None,
    ) -> list[T]:
        """Run the jobs that ``find_jobs`` returns at each signal; see `concurrency.consume_jobs`."""
        asked = judge or self.config.judge
        config = self.config.model_copy(update={"judge": asked})
        contact = self._contacts.setdefault(asked.model, JudgeContact())

        async def run() -> list[T]:
            judge = open_judge(
                config, self.store, self.ports, lambda: self.judge_address(asked), round_, contact, self.lease
            )
            async with judge as ask_judge:
                calls = max_concurrent_calls(asked)
                # A few more jobs than calls, so that the next request is ready when there is room for it.
                return await consume_jobs(ask_judge, find_jobs, signal, calls + calls // 4 + 1)

        with frozen_heap():
            return signal.run(run)

    def use(self, adapter: Adapter | None) -> None:
        """Load the adapter into the policy, after checking that its weights are the recorded ones.

        Args:
            adapter: None for the base model.

        Raises:
            PolicyError: the weights on disk are missing or have changed.
        """
        if adapter is not None:
            self.verify_weights(adapter)
        self.policy.use(adapter)

    def verify_weights(self, adapter: Adapter) -> None:
        """Raise PolicyError unless the weights on disk are the recorded ones, by their content hash."""
        if not self.has_weights(adapter):
            raise PolicyError(
                f"The weights in {adapter.path} are missing or not those that were recorded (hash "
                f"{adapter.content_hash[:12]}). A run that goes on from them trains them again; or restore a backup."
            )

    def has_weights(self, adapter: Adapter) -> bool:
        """Return whether the adapter's folder holds the recorded weights.

        Files of unchanged size and time are not read again: full weights are many GB.
        """
        folder = Path(adapter.path)
        state = weights.file_states(folder)
        if state and self._verified.get(adapter.content_hash) == state:
            return True
        if not weights.holds(folder, adapter.content_hash):
            return False
        self._verified[adapter.content_hash] = state
        return True

    def release_policy_memory(self) -> None:
        """Let the policy, if it is loaded, free the accelerator's memory until it is used again."""
        if "policy" in self.__dict__:
            self.policy.release_memory()

    @contextmanager
    def timed(self, round_: Round, step: str) -> Iterator[None]:
        """Add the seconds of the block to the round's step, also if it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.store.rounds.add_step_seconds(round_.id, step, time.monotonic() - started)


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Exclude the objects that exist now from garbage collection during the block.

    A judge's thousands of replies trigger full collections; with Prefect loaded each one delays every call by 0.2 s.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def open_session(config: ExperimentConfig, ports: Ports | None = None) -> Iterator[RoundSession]:
    """Open the store; at the end close it with the policy and the judge."""
    with ExitStack() as stack:
        limits = config.database
        opened = Store.open(patience_seconds=limits.patience_seconds, statement_seconds=limits.statement_seconds)
        store = stack.enter_context(opened)
        yield RoundSession(config, store, stack, ports or Ports())
