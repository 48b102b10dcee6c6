"""A round's lists under another judge, template or set of demonstrations: which verdicts turned. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from cyclealign.evaluation.intervals import with_interval
from cyclealign.ranking import agreement
from cyclealign.records import Metric, Ranking

Shown = Literal["none", "static", "all"]


@dataclass(frozen=True)
class Overrides:
    """What is to differ from the round; None stays as it was.

    Args:
        template: a folder with another rank.jinja.
        config: a TOML file whose judge and budget count, each if it is in there.
        judge: the name of another model, base_url its address, key_variable the name of the variable with its key.
        demonstrations: none, the round's written ones, or these and the dynamic ones that are in use now.
        prompts: so many of the round's lists.
    """

    template: Path | None = None
    config: Path | None = None
    judge: str | None = None
    base_url: str | None = None
    demonstrations: Shown | None = None
    prompts: int | None = None
    key_variable: str | None = None

    @property
    def of_anything(self) -> bool:
        """Whether the judge would be asked anything that the round did not ask."""
        return any([self.template, self.config, self.judge, self.base_url, self.demonstrations])


@dataclass(frozen=True)
class RankingDiff:
    """One list ranked twice: both orders (ids, best first), their Kendall tau, and what became of its decided pairs.

    ``pairs`` are those that both rankings decided; ``turned`` of them came out the other way.
    """

    prompt_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    tau: float
    pairs: int
    turned: int


@dataclass(frozen=True)
class Comparison:
    """The lists that were ranked both times."""

    turns: tuple[RankingDiff, ...]

    @property
    def pairs(self) -> int:
        """Pairs that both rankings decided."""
        return sum(each.pairs for each in self.turns)

    @property
    def flips(self) -> Metric | None:
        """Mean over lists of the share of its decided pairs that turned; None where no pair was decided both times."""
        shares = [each.turned / each.pairs for each in self.turns if each.pairs]
        return with_interval("flips", shares) if shares else None

    @property
    def tau(self) -> Metric:
        """Mean Kendall tau over lists."""
        return with_interval("tau", [each.tau for each in self.turns])

    def most_changed(self, count: int) -> list[RankingDiff]:
        """The lists whose order changed most, the most changed first; unchanged ones are none of them."""
        return sorted((each for each in self.turns if each.tau < 1), key=lambda each: each.tau)[:count]


def compare(before: Mapping[str, Ranking], after: Mapping[str, Ranking]) -> Comparison:
    """Compare rankings of the same lists by prompt id; lists that only one side ranked are left out."""
    both = [(before[prompt_id], after[prompt_id]) for prompt_id in before if prompt_id in after]
    return Comparison(tuple(turn(old, new) for old, new in both))


def turn(before: Ranking, after: Ranking) -> RankingDiff:
    """How one list's ranking changed."""
    old, new = decided(before), decided(after)
    turned = sum((worse, better) in new for better, worse in old)
    pairs = turned + len(old & new)
    tau = agreement.kendall_tau(before.order, after.order)
    return RankingDiff(before.prompt_id, before.order, after.order, tau, pairs, turned)


def decided(given: Ranking) -> set[tuple[str, str]]:
    """(better, worse) of each pair that the verdicts decided; all of the order where no votes were kept."""
    if not given.preferences:
        return set(combinations(given.order, 2))
    return {(each.better, each.worse) for each in given.preferences if each.share > 0.5}


def places(turn: RankingDiff) -> Sequence[tuple[str, int, int]]:
    """(id, place before, place after) of each answer, in the order of before; places count from one."""
    after = {item: place for place, item in enumerate(turn.after, 1)}
    return [(item, place, after[item]) for place, item in enumerate(turn.before, 1)]


def told(made: Mapping[str, Any]) -> str:
    """A rejudgement of the history in one line."""
    flips = "no pair decided both times" if made["flips"] is None else f"flips {_span(made, 'flips')}"
    return (
        f"judge {made['model']}, template {made['template_hash'][:12]}, demonstrations {made['demonstrations']}: "
        f"{made['lists']} lists, {flips}, tau {_span(made, 'tau')}, {made['calls']:,} calls, "
        f"{made['cost_usd']:.4f} USD ({made['made_at'][:16]})"
    )


def _span(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"
