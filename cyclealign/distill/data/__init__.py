"""Readers of data sets that several distillation jobs share."""
