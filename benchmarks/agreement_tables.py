"""Kendall's tau of scores with a reference order, with and without length control; bootstrap over lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from cyclealign.evaluation.intervals import bootstrap_mean, paired_difference
from cyclealign.ranking.scores import length_controlled, length_slope

Values = Mapping[str, float]  # by answer id
AGAINST = ("mean_logprob", "length")


@dataclass(frozen=True)
class ScoredList:
    """A list with the quality of its answers, their lengths in tokens, and the scores that were measured, by name."""

    quality: Values
    lengths: Mapping[str, int]
    scores: Mapping[str, Values]


def tau(quality: Values, scores: Values) -> float:
    """Return Kendall's tau over the pairs of different quality: concordant minus discordant; a tied score counts 0."""
    ids = sorted(quality)
    pairs = [(a, b) for a in ids for b in ids if quality[a] > quality[b]]
    return fmean((scores[a] > scores[b]) - (scores[a] < scores[b]) for a, b in pairs)


def controlled(lists: Sequence[ScoredList], name: str) -> list[Values]:
    """Return a score of each list without its slope in length, which is fitted on all of these lists together."""
    slope = length_slope([[(row.scores[name][i], row.lengths[i]) for i in row.quality] for row in lists])
    return [{i: length_controlled(row.scores[name][i], row.lengths[i], slope) for i in row.quality} for row in lists]


def table(lists: Sequence[ScoredList]) -> list[dict[str, Any]]:
    """Return a row for each score: tau with standard error and 95 % interval, the same under length control, and the
    paired differences from `AGAINST`. Each on the lists that have the score, and the paired ones on those with both.
    """
    names = list(dict.fromkeys(name for row in lists for name in row.scores))
    return [_row(name, [row for row in lists if name in row.scores]) for name in names]


def _row(name: str, lists: Sequence[ScoredList]) -> dict[str, Any]:
    taus = [tau(row.quality, row.scores[name]) for row in lists]
    figures: dict[str, Any] = {"score": name, "lists": len(lists), **_with_error("tau", taus)}
    for other in AGAINST:
        both = [(own, row) for own, row in zip(taus, lists, strict=True) if other in row.scores]
        if other != name and both:
            theirs = [tau(row.quality, row.scores[other]) for _, row in both]
            figures[f"minus_{other}"] = paired_difference([own for own, _ in both], theirs)
    if name != "length":
        without = [tau(row.quality, values) for row, values in zip(lists, controlled(lists, name), strict=True)]
        figures |= _with_error("length_controlled", without)
    return figures


def _with_error(name: str, values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = bootstrap_mean(values)
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return {name: mean, f"{name}_error": error, f"{name}_low": low, f"{name}_high": high}


def as_markdown(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        f"**{title}**\n",
        "| score | lists | tau (standard error) | 95 % | length-controlled | minus mean log-prob | minus length |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["score"],
            str(row["lists"]),
            _estimate(row, "tau"),
            f"{row['tau_low']:.2f} to {row['tau_high']:.2f}",
        ]
        cells.append(_estimate(row, "length_controlled") if "length_controlled" in row else "-")
        cells += [_difference(row.get(f"minus_{other}")) for other in AGAINST]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _estimate(row: Mapping[str, Any], name: str) -> str:
    error = row[f"{name}_error"]
    return f"{row[name]:.2f}" + ("" if error is None else f" ({error:.2f})")


def _difference(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:+.2f} [{bounds[1]:+.2f}, {bounds[2]:+.2f}]"
