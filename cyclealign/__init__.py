"""Align a language model with human preferences by iterative distillation from a black-box judge."""

__version__ = "0.2.0"
