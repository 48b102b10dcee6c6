"""Compare a round's rankings with those by another judge, template or set of demonstrations. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from cyclealign.evaluation.intervals import with_interval
from cyclealign.ranking import agreement
from cyclealign.records import Metric, Ranking

DemonstrationSet = Literal["none", "static", "all"]


@dataclass(frozen=True)
class Overrides:
    """Changes to a round's settings; None: as in the round.

    Args:
        template: folder with another rank.jinja.
        config: TOML file; its sections ``judge`` and ``budget`` apply, if present.
        judge: name of another model.
        base_url: its address.
        key_variable: name of the environment variable with its key.
        demonstrations: none, the round's static ones, or these and the dynamic ones in use now.
        prompts: number of the round's lists to rank.
    """

    template: Path | None = None
    config: Path | None = None
    judge: str | None = None
    base_url: str | None = None
    demonstrations: DemonstrationSet | None = None
    prompts: int | None = None
    key_variable: str | None = None

    @property
    def changes_requests(self) -> bool:
        """Return whether any request would differ from the round's."""
        return any([self.template, self.config, self.judge, self.base_url, self.demonstrations])


@dataclass(frozen=True)
class RankingDiff:
    """One list ranked twice: both orders (ids, best first), their Kendall tau, and the pairs that both decided.

    ``flipped`` of these ``pairs`` came out the other way.
    """

    prompt_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    tau: float
    pairs: int
    flipped: int


@dataclass(frozen=True)
class Comparison:
    """The lists that were ranked both times."""

    diffs: tuple[RankingDiff, ...]

    @property
    def pairs(self) -> int:
        """Return the number of pairs that both rankings decided."""
        return sum(diff.pairs for diff in self.diffs)

    @property
    def flips(self) -> Metric | None:
        """Return the share of decided pairs that flipped, as a mean over lists; None if no pair was decided twice."""
        shares = [diff.flipped / diff.pairs for diff in self.diffs if diff.pairs]
        return with_interval("flips", shares) if shares else None

    @property
    def tau(self) -> Metric:
        """Return the mean Kendall tau over lists."""
        return with_interval("tau", [diff.tau for diff in self.diffs])

    def most_changed(self, count: int) -> list[RankingDiff]:
        """Return the lists whose order changed most, the most changed first; unchanged ones are left out."""
        return sorted((diff for diff in self.diffs if diff.tau < 1), key=lambda diff: diff.tau)[:count]


def compare(before: Mapping[str, Ranking], after: Mapping[str, Ranking]) -> Comparison:
    """Compare rankings of the same lists by prompt id; lists that only one side ranked are left out."""
    both = [(before[prompt_id], after[prompt_id]) for prompt_id in before if prompt_id in after]
    return Comparison(tuple(diff_of(old, new) for old, new in both))


def diff_of(before: Ranking, after: Ranking) -> RankingDiff:
    """Compare two rankings of one list."""
    old, new = decided_pairs(before), decided_pairs(after)
    flipped = sum((worse, better) in new for better, worse in old)
    pairs = flipped + len(old & new)
    tau = agreement.kendall_tau(before.order, after.order)
    return RankingDiff(before.prompt_id, before.order, after.order, tau, pairs, flipped)


def decided_pairs(ranking: Ranking) -> set[tuple[str, str]]:
    """Return (better, worse) of each pair that the verdicts decided; all pairs of the order if no votes were kept."""
    if not ranking.preferences:
        return set(combinations(ranking.order, 2))
    return {(pair.better, pair.worse) for pair in ranking.preferences if pair.share > 0.5}


def rank_changes(diff: RankingDiff) -> Sequence[tuple[str, int, int]]:
    """Return (id, rank before, rank after) of each answer, in the order before; ranks count from 1."""
    after = {item: rank for rank, item in enumerate(diff.after, 1)}
    return [(item, rank, after[item]) for rank, item in enumerate(diff.before, 1)]


def summary_line(rejudgement: Mapping[str, Any]) -> str:
    """Return a stored rejudgement as one line."""
    row = rejudgement
    flips = "no pair decided both times" if row["flips"] is None else f"flips {_interval(row, 'flips')}"
    return (
        f"judge {row['model']}, template {row['template_hash'][:12]}, demonstrations {row['demonstrations']}: "
        f"{row['lists']} lists, {flips}, tau {_interval(row, 'tau')}, {row['calls']:,} calls, "
        f"{row['cost_usd']:.4f} USD ({row['made_at'][:16]})"
    )


def _interval(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"
