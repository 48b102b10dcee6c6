"""What can go wrong, by name. Every message says what happened and what to do about it.

::

    CycleAlignError
    ├── BadConfig            a setting is unknown, missing or contradicts another
    ├── BadPrompts           a file of prompts cannot be imported
    ├── BadTemplate          a template in prompts/ cannot be used
    ├── BadOrder             what a person typed does not rank each answer of a list once
    ├── StoreError
    │   ├── NewerDatabase    the database was written by a newer cyclealign
    │   ├── NoSuchExperiment the history holds no experiment or round of that name
    │   ├── NoSuchJob        there is no distillation job, or no run of one, of that name
    │   ├── ExperimentBusy   another run holds the experiment's lease
    │   └── LeaseLost        this run's lease ran out and another run took the round
    ├── PolicyError          the white-box model is missing, or its answers cannot be used
    │   ├── EngineFailed     vLLM did not start, or ended and could not be started again
    │   ├── EngineRefused    vLLM refuses a request
    │   └── WrongWeights     vLLM does not answer with the adapter that it was given
    ├── JudgeError
    │   ├── JudgeUnavailable the judge cannot be reached, or refuses the key: no call can succeed
    │   ├── BudgetReached    the next call might cost more than the budget leaves
    │   ├── JudgeUntrusted   the judge failed the planted controls: its verdicts would teach the wrong thing
    │   ├── JudgeCallFailed  one call failed; its prompt stays unjudged
    │   │   ├── RequestRefused   ... because the endpoint will not have the request as it is
    │   │   ├── JudgeFaltered    ... this time: asking again may help
    │   │   └── JudgeBusy        ... because too much is asked at once: asking again later helps
    │   └── UnreadableReply  one reply is not a ranking of the labels that were given
    ├── TrainingFailed       the training process ended without weights
    └── DistillError         a teacher, a student or the data of a distillation job cannot be used
"""

from cyclealign.records import Reply


class CycleAlignError(Exception):
    """Base of every error whose message is meant for the person at the keyboard."""


class BadConfig(CycleAlignError):
    """A setting is unknown, missing or contradicts another."""


class BadPrompts(CycleAlignError):
    """A file of prompts to align on cannot be imported."""


class BadTemplate(CycleAlignError):
    """A template or a demonstration file in prompts/ cannot be used."""


class BadOrder(CycleAlignError):
    """What a person typed does not rank each answer of a list once."""


class StoreError(CycleAlignError):
    """The database cannot do what was asked."""


class NewerDatabase(StoreError):
    """The database was written by a newer cyclealign."""


class NoSuchExperiment(StoreError):
    """The history holds no experiment, round or prompt set of that name."""


class NoSuchJob(StoreError):
    """There is no distillation job, or no run of one, of that name."""


class ExperimentBusy(StoreError):
    """Another run holds the experiment's lease."""


class LeaseLost(StoreError):
    """This run's lease ran out and another run took the round over."""


class PolicyError(CycleAlignError):
    """The white-box model is missing, or its answers cannot be used."""


class EngineFailed(PolicyError):
    """vLLM did not start, or ended and could not be started again."""


class EngineRefused(PolicyError):
    """vLLM refuses a request."""


class WrongWeights(PolicyError):
    """vLLM does not answer with the adapter that it was given, or it cannot be told whether it does."""


class JudgeError(CycleAlignError):
    """Base of what can go wrong with the black-box judge."""


class JudgeUnavailable(JudgeError):
    """No call can succeed: the address does not answer or the key is refused."""


class BudgetReached(JudgeError):
    """The next call might cost more than the budget leaves; what was answered is stored."""


class JudgeUntrusted(JudgeError):
    """The judge failed a planted control; its round was closed before anything was trained on its verdicts."""


class JudgeCallFailed(JudgeError):
    """One call failed; the prompt stays unjudged. ``paid`` is a reply that came, and cost, but cannot be used."""

    def __init__(self, message: str, paid: Reply | None = None) -> None:
        super().__init__(message)
        self.paid = paid


class RequestRefused(JudgeCallFailed):
    """The endpoint will not have the request as it is."""


class JudgeFaltered(JudgeCallFailed):
    """One attempt failed in a way that asking again may mend; ``unreachable``: nobody listens at the address."""

    def __init__(self, message: str, paid: Reply | None = None, unreachable: bool = False) -> None:
        super().__init__(message, paid)
        self.unreachable = unreachable


class JudgeBusy(JudgeCallFailed):
    """The judge wants to be asked less often; ``wait_seconds`` is how long it asked us to wait, if it said so."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class UnreadableReply(JudgeError):
    """One reply is not a ranking of exactly the labels that were given."""


class TrainingFailed(CycleAlignError):
    """The training process ended without an adapter or whole weights."""


class DistillError(CycleAlignError):
    """A teacher, a student or the data of a distillation job cannot be used."""
