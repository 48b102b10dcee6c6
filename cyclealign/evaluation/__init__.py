"""Metrics of a round, their intervals and the round's report."""
