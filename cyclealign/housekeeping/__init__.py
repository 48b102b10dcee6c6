"""Housekeeping: delete old weights, checkpoints, labels and logs that no round, student or run needs."""
