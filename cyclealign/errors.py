"""Errors, named for what happened. Every message says what happened and what to do about it.

::

    CycleAlignError
    ├── BadConfig            a setting is unknown, missing or contradicts another
    ├── NotReady             checks before a run found parts that are missing; nothing was generated
    ├── BadPrompts           a file of prompts cannot be imported
    ├── BadTemplate          a template in prompts/ cannot be used
    ├── BadOrder             a ranking typed by a person does not hold each answer of a list once
    ├── StoreError
    │   ├── DatabaseAway     the database does not answer for now; units of work are repeated
    │   ├── NewerDatabase    a newer cyclealign wrote the database
    │   ├── NoSuchExperiment no experiment, round or prompt set has that name
    │   ├── NoSuchJob        no distillation job has that name, or it has not run yet
    │   ├── UnstorableRow    a row holds a value that the database does not take
    │   ├── ExperimentBusy   another run holds the experiment's lease
    │   ├── ExperimentStopped  too many rounds were rolled back, or too many runs failed, in a row
    │   ├── AwaitsApproval   a round waits for a person to accept or reject it
    │   └── LeaseLost        this run's lease expired and another run took over the round
    ├── PolicyError          the white-box model is missing, or its answers cannot be used
    │   ├── EngineFailed     vLLM did not start, or exited and could not be restarted
    │   ├── EngineRefused    vLLM rejected a request
    │   └── WrongWeights     vLLM does not serve the adapter that it was given
    ├── JudgeError
    │   ├── JudgeUnavailable the judge is unreachable or rejects the key: no call can succeed
    │   ├── BudgetReached    the next call could exceed the budget
    │   ├── JudgeUntrusted   the judge failed its control lists: nothing is trained on its verdicts
    │   ├── JudgeCallFailed  one call failed; its prompt stays unjudged
    │   │   ├── RequestRefused   ... because the endpoint rejects the request
    │   │   ├── CallForbidden    ... with 403, 404 or a redirection: for its content, or as every call would be
    │   │   ├── NothingToRead    ... because the reply has no text: it was cut off, or holds thoughts alone
    │   │   ├── JudgeFaltered    ... for a reason that may pass: a retry may help
    │   │   └── JudgeBusy        ... because of a rate limit: a later retry helps
    │   └── UnreadableReply  one reply does not rank exactly the labels shown
    ├── TrainingFailed       the training process ended without weights
    ├── NotConverted         a converter of another project failed on an exported model
    ├── NotUploaded          a hub refused an export, which stays on disk
    └── DistillError         a teacher, a student or the data of a distillation job cannot be used
"""

from cyclealign.records import Reply


class CycleAlignError(Exception):
    """Base of every error whose message is meant for the user; the command line prints it without a traceback."""


class BadConfig(CycleAlignError):
    """A setting is unknown, missing or contradicts another."""


class NotReady(CycleAlignError):
    """Checks before a run found parts that are missing; the message names each with its remedy."""


class BadPrompts(CycleAlignError):
    """A file of prompts cannot be imported."""


class BadTemplate(CycleAlignError):
    """A template or a demonstration file in prompts/ cannot be used."""


class BadOrder(CycleAlignError):
    """A ranking typed by a person does not hold each answer of a list once."""


class StoreError(CycleAlignError):
    """The database cannot be reached, read or migrated."""


class DatabaseAway(StoreError):
    """The database does not answer for now; nothing of the transaction was written.

    Args:
        trouble: the trouble alone, for the log.
    """

    def __init__(self, message: str, trouble: str) -> None:
        super().__init__(message)
        self.trouble = trouble


class UnstorableRow(StoreError):
    """A row holds a value that the database does not take; nothing of its transaction was stored."""


class NewerDatabase(StoreError):
    """A newer cyclealign wrote the database."""


class NoSuchExperiment(StoreError):
    """No experiment, round or prompt set has that name."""


class NoSuchJob(StoreError):
    """No distillation job has that name, or it has not run yet."""


class ExperimentBusy(StoreError):
    """Another run holds the experiment's lease."""


class ExperimentStopped(StoreError):
    """Too many rounds of the experiment were rolled back in a row, or too many of its runs failed."""


class AwaitsApproval(StoreError):
    """A round waits for a person to accept or reject it; nothing is wrong.

    Args:
        round_id: of the round.
    """

    def __init__(self, message: str, round_id: int) -> None:
        super().__init__(message)
        self.round_id = round_id


class LeaseLost(StoreError):
    """This run's lease expired and another run took over the round."""


class PolicyError(CycleAlignError):
    """The white-box model is missing, or its answers cannot be used."""


class EngineFailed(PolicyError):
    """vLLM did not start, or exited and could not be restarted."""


class EngineRefused(PolicyError):
    """vLLM rejected a request."""


class WrongWeights(PolicyError):
    """vLLM does not serve the adapter that it was given, or this cannot be verified."""


class JudgeError(CycleAlignError):
    """Base of the errors of the black-box judge."""


class JudgeUnavailable(JudgeError):
    """No call can succeed: the address does not respond or rejects the key."""


class BudgetReached(JudgeError):
    """The next call could exceed the budget; all replies so far are stored."""


class JudgeUntrusted(JudgeError):
    """The judge failed its control lists; the round was closed before training on its verdicts."""


class JudgeCallFailed(JudgeError):
    """One call failed; its prompt stays unjudged.

    Args:
        paid: a reply that was paid for but cannot be used.
        unpriced: whether the request was sent and may be billed, at a price that no reply names.
    """

    def __init__(self, message: str, paid: Reply | None = None, unpriced: bool = False) -> None:
        super().__init__(message)
        self.paid, self.unpriced = paid, unpriced


class RequestRefused(JudgeCallFailed):
    """The endpoint rejects the request, and would reject it again; ``parameter``: the one that it does not take."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class CallForbidden(JudgeCallFailed):
    """The endpoint answers 403, 404 or by redirecting: to this request (moderation), or to every one (key, model).

    Args:
        advice: the likely reason and the fix if it answers so to every request.
        missing: whether the answer is 404, so that what was asked for may not exist.
    """

    def __init__(self, message: str, advice: str, missing: bool = False) -> None:
        super().__init__(message)
        self.advice, self.missing = advice, missing


class NothingToRead(JudgeCallFailed):
    """The reply has no text; ``cut``: it reached the limit of its tokens before any."""

    def __init__(self, message: str, paid: Reply, cut: bool = False) -> None:
        super().__init__(message, paid)
        self.cut = cut


class JudgeFaltered(JudgeCallFailed):
    """One attempt failed for a reason that may pass.

    Args:
        unreachable: no connection was made.
        unanswered: the connection closed before a reply began, which the provider may have made.
    """

    def __init__(
        self,
        message: str,
        paid: Reply | None = None,
        unreachable: bool = False,
        unpriced: bool = False,
        unanswered: bool = False,
    ) -> None:
        super().__init__(message, paid, unpriced)
        self.unreachable, self.unanswered = unreachable, unanswered


class JudgeBusy(JudgeCallFailed):
    """A rate limit was hit; ``wait_seconds`` is the wait that the response asks for, None if it names none."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class UnreadableReply(JudgeError):
    """One reply does not rank exactly the labels shown."""


class TrainingFailed(CycleAlignError):
    """The training process ended without an adapter or whole weights."""


class NotConverted(CycleAlignError):
    """A converter of another project failed on an exported model."""


class NotUploaded(CycleAlignError):
    """A hub refused an export, or did not answer; the files stay on disk."""


class DistillError(CycleAlignError):
    """A teacher, a student or the data of a distillation job cannot be used."""
