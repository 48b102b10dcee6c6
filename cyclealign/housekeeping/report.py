"""The result of housekeeping in words, in rows and as JSON values."""

from typing import Any

from cyclealign.housekeeping.clean import Outcome
from cyclealign.housekeeping.expired import Expired


def rows(outcome: Outcome) -> list[dict[str, str]]:
    """Return a row for each path, for a table."""
    return [
        {
            "kind": each.kind,
            "of": each.owner,
            "MB": megabytes(each.size),
            "days": f"{each.days:.0f}",
            "path": str(each.path),
            "reason": each.reason,
        }
        for each in outcome.expired
    ]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the result as JSON values: ``dry_run``, ``bytes``, ``paths`` and ``notes``."""
    paths = [
        {
            "kind": each.kind,
            "of": each.owner,
            "bytes": each.size,
            "days": round(each.days, 2),
            "path": str(each.path),
            "reason": each.reason,
        }
        for each in outcome.expired
    ]
    return {"dry_run": outcome.dry_run, "bytes": outcome.size, "paths": paths, "notes": outcome.notes}


def summary(outcome: Outcome) -> str:
    """Return the number of paths and their size in a sentence."""
    count = f"{len(outcome.expired)} {'path' if len(outcome.expired) == 1 else 'paths'} ({megabytes(outcome.size)} MB)"
    if outcome.dry_run:
        return f"Dry run: {count} would be deleted."
    return f"Deleted {count}."


def line(each: Expired) -> str:
    """Return a path in a line: size, path, reason and age."""
    return f"{megabytes(each.size)} MB  {each.path}: {each.reason} ({each.days:.0f} days)"


def megabytes(size: int) -> str:
    """Return a size in bytes as text, in MB."""
    return f"{size / 1e6:,.1f}"
