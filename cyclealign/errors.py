"""What can go wrong, by name. Every message says what happened and what to do about it.

::

    CycleAlignError
    ├── BadConfig            a setting is unknown, missing or contradicts another
    ├── BadPrompts           a file of prompts cannot be imported
    ├── BadTemplate          a template in prompts/ cannot be used
    ├── StoreError
    │   ├── NewerDatabase    the database was written by a newer cyclealign
    │   ├── NoSuchExperiment the history holds no experiment or round of that name
    │   ├── NoSuchJob        there is no distillation job, or no run of one, of that name
    │   ├── ExperimentBusy   another run holds the experiment's lease
    │   └── LeaseLost        this run's lease ran out and another run took the round
    ├── PolicyError          the white-box model is missing, or its answers cannot be used
    ├── JudgeError
    │   ├── JudgeUnavailable the judge cannot be reached, or refuses the key: no call can succeed
    │   ├── JudgeCallFailed  one call failed; its prompt stays unjudged
    │   └── UnreadableReply  one reply is not a ranking of the labels that were given
    ├── TrainingFailed       the training process ended without an adapter
    └── DistillError         a teacher, a student or the data of a distillation job cannot be used
"""


class CycleAlignError(Exception):
    """Base of every error whose message is meant for the person at the keyboard."""


class BadConfig(CycleAlignError):
    """A setting is unknown, missing or contradicts another."""


class BadPrompts(CycleAlignError):
    """A file of prompts to align on cannot be imported."""


class BadTemplate(CycleAlignError):
    """A template or a demonstration file in prompts/ cannot be used."""


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


class JudgeError(CycleAlignError):
    """Base of what can go wrong with the black-box judge."""


class JudgeUnavailable(JudgeError):
    """No call can succeed: the address does not answer or the key is refused."""


class JudgeCallFailed(JudgeError):
    """One call failed after its retries; the prompt stays unjudged."""


class UnreadableReply(JudgeError):
    """One reply is not a ranking of exactly the labels that were given."""


class TrainingFailed(CycleAlignError):
    """The training process ended without an adapter."""


class DistillError(CycleAlignError):
    """A teacher, a student or the data of a distillation job cannot be used."""
