"""The prompts that an experiment has left, and the rounds for which they suffice."""

from dataclasses import dataclass
from math import ceil

from cyclealign.config import ExperimentConfig
from cyclealign.loop.plan import DEMO_SET, import_demo_world
from cyclealign.store import Store


@dataclass(frozen=True)
class PromptSupply:
    """The size of a prompt set, as one experiment sees it.

    Attributes:
        unused: train prompts that no round of the experiment has drawn.
        per_round: prompts that a round draws.
    """

    set_name: str
    train: int
    unused: int
    held_out: int
    labelled: int
    per_round: int

    @property
    def rounds(self) -> int:
        """Return the number of further rounds that get a prompt; the last one may get fewer than ``per_round``."""
        return ceil(self.unused / self.per_round)

    def prompts_of(self, number: int) -> int:
        """Return how many prompts the ``number``-th further round draws, counted from 1."""
        return max(0, min(self.per_round, self.unused - (number - 1) * self.per_round))

    def __str__(self) -> str:
        rest = self.prompts_of(self.rounds) if self.rounds else 0
        which = "the last one with" if self.rounds > 1 else "with"
        last = f" ({which} {rest:,})" if 0 < rest < self.per_round else ""
        rounds = f"{self.rounds:,} round{'' if self.rounds == 1 else 's'}{last}"
        return (
            f"Prompt set '{self.set_name}' has {self.train:,} train prompts, {self.unused:,} of them unused: enough "
            f"for {rounds} at prompts.per_round = {self.per_round:,}; {self.held_out:,} held-out prompts, "
            f"{self.labelled:,} labelled lists."
        )


def prompt_supply(store: Store, config: ExperimentConfig) -> PromptSupply:
    """Return the prompts that the config's experiment has left; the demo's set is imported first.

    Raises:
        NoSuchExperiment: there is no such prompt set.
    """
    name = config.prompts.set_name
    if name == DEMO_SET:
        import_demo_world(store)
    store.prompts.first(name, "train", 1)  # raises if there is no such set
    size = next(size for size in store.prompts.sets(config.experiment) if size.name == name)
    return PromptSupply(name, size.train, size.unused, size.held_out, size.labelled, config.prompts.per_round)


def rounds_to_run(store: Store, config: ExperimentConfig) -> int:
    """Return the number of rounds that the run would finish, the open one included."""
    if config.until is None:
        return config.rounds
    return max(0, min(config.rounds, config.until - store.rounds.count_closed(config.experiment)))
