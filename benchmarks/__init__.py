"""Benchmarks whose figures anyone can reproduce: ``python -m benchmarks.<name> --json``."""
