"""Leave near-duplicates out of imported prompts, and draw a sample over clusters of like prompts."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from cyclealign.prompt_import.near_duplicates import compared_text, leaders, signature
from cyclealign.prompt_import.reading import Imported

SAME_KIND = 0.5  # similarity from which prompts are of one cluster


def without_near_duplicates(imported: Imported, threshold: float) -> Imported:
    """Return the contents with the first of each group of like prompts; ranked answers stay with their own prompt.

    Args:
        threshold: estimated similarity of two prompts from which the later one is left out.
    """
    labelled = {one.prompt.id for one in imported.labelled}
    led = leaders([signature(compared_text(prompt)) for prompt, _ in imported.prompts], threshold)
    kept = {
        prompt.id
        for place, ((prompt, _), leader) in enumerate(zip(imported.prompts, led, strict=True))
        if leader == place or prompt.id in labelled
    }
    return _only(imported, kept, f"Near-duplicates left out (MinHash, similarity of at least {threshold:g})")


def sampled(imported: Imported, count: int) -> Imported:
    """Return at most ``count`` prompts: one of each cluster, then a second one of each, and so on.

    Clusters hold prompts with a similarity of at least 0.5 to their first one. Which prompts of a cluster are drawn,
    and which clusters if there are more than ``count``, follows from the prompts' hashes alone, not from their order.
    """
    prompts = sorted((prompt for prompt, _ in imported.prompts), key=lambda prompt: prompt.id)
    led = leaders([signature(compared_text(prompt)) for prompt in prompts], SAME_KIND)
    seen: Counter[int] = Counter()
    turns: list[tuple[int, str]] = []
    for prompt, leader in zip(prompts, led, strict=True):
        turns.append((seen[leader], prompt.id))
        seen[leader] += 1
    kept = {prompt_id for _, prompt_id in sorted(turns)[:count]}
    return _only(imported, kept, f"Left out by --sample {count} ({len(seen)} clusters by MinHash)")


def _only(imported: Imported, kept: Collection[str], remark: str) -> Imported:
    dropped = len(imported.prompts) - len(kept)
    return replace(
        imported,
        prompts=tuple((prompt, split) for prompt, split in imported.prompts if prompt.id in kept),
        labelled=tuple(one for one in imported.labelled if one.prompt.id in kept),
        dropped=imported.dropped + dropped,
        remarks={**imported.remarks, **({remark: dropped} if dropped else {})},
    )
