"""Repeat work in smaller parts when an accelerator's memory does not suffice."""

import logging
from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

logger = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: on a GPU, or on a CPU whose memory is limited."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )


def halve_until_it_fits(attempt: Callable[[int], object], size: int, min_size: int, unit: str) -> int:
    """Call ``attempt`` with a size that is halved each time memory runs out, and return the size that fitted.

    Args:
        size: the first size.
        min_size: the smallest size, with which the error is raised.
        unit: the unit of the size and the work, for the log.
    """
    while True:
        try:
            attempt(size)
            return size
        except RuntimeError as error:
            if not is_out_of_memory(error) or size <= min_size:
                raise
        # Outside the handler, which keeps the tensors of all frames that the error passed.
        clear_device_cache(garbage_collection=True)
        size = max(min_size, size // 2)
        logger.warning("Out of memory: going on with at most %d %s at once.", size, unit)
