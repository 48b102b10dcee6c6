"""The device on which models of this process run."""

import torch


def device(allow_mps: bool = False) -> str:
    """Return "cuda" if a CUDA GPU is available, otherwise "mps" if allowed and available, otherwise "cpu".

    Args:
        allow_mps: Apple's GPU may be used. It has no float64, which the distillation jobs compute in.
    """
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if allow_mps and torch.backends.mps.is_available() else "cpu"
