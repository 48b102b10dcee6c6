"""Signs of whether any call of a run can succeed, shared by its steps."""

from dataclasses import dataclass, field

# Distinct calls that fail as every call would, before one was answered: then no further call is sent. More than one,
# since a provider's moderation may refuse the first prompt of a run, and the next run would begin with it again.
MAX_FAILED_BEFORE_ANSWER = 3


@dataclass
class JudgeContact:
    """The judge's answers to a run so far.

    Args:
        answered: whether any call of this run was answered.
        token_limit: limit of replies after ``judge.max_tokens`` has cut one off before its answer; 0: none yet.
    """

    answered: bool = False
    token_limit: int = 0
    _failed: set[str] = field(default_factory=set)

    def hopeless(self, key: str) -> bool:
        """Count a call that failed as every call would; return whether to send no further one."""
        self._failed.add(key)
        return not self.answered and len(self._failed) >= MAX_FAILED_BEFORE_ANSWER
