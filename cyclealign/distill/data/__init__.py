"""Data sets of the distillation jobs."""
