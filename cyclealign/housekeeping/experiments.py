"""Weights and checkpoints of an experiment that may be deleted."""

from collections.abc import Iterator, Set
from pathlib import Path

from cyclealign.files import checkpoints_folder
from cyclealign.housekeeping.expired import Expired, Kind, age_in_days, overlaps
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.loop.prune import Prunable, prunable
from cyclealign.store import Store


def expired_weights(
    store: Store, experiment: str, rules: HousekeepingRules, needed: Set[Path], now: float, only_with_rows: bool
) -> Iterator[Expired]:
    """Yield the weights and checkpoints of an experiment that nothing needs and that are old enough.

    Args:
        needed: from `needed_paths`.
        now: seconds since the epoch.
        only_with_rows: leave weights alone that no row names: another database may have their rows.
    """
    found = [each for each in prunable(store, experiment) if not each.path.is_symlink()]
    of_rounds = [each for each in found if each.adapter_id is not None]  # the oldest round first
    spared = {each.path for each in of_rounds[max(0, len(of_rounds) - rules.keep_adapters) :]}
    checkpoints = checkpoints_folder(experiment)
    for each in found:
        is_checkpoints = each.path == checkpoints
        if each.path in spared or overlaps(each.path, needed):
            continue
        if only_with_rows and each.adapter_id is None:
            continue
        days = age_in_days(each.path, now)
        if days >= (rules.checkpoints_days if is_checkpoints else rules.adapters_days):
            yield expired(each, experiment, days, is_checkpoints)


def expired(folder: Prunable, experiment: str, days: float, is_checkpoints: bool) -> Expired:
    """Return a folder of an experiment as one that may be deleted."""
    kind: Kind = "checkpoints" if is_checkpoints else "adapter"
    return Expired(kind, experiment, folder.path, folder.size, days, folder.reason, folder.adapter_id)
