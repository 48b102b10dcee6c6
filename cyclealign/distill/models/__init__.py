"""Encoders, pooling and tokenizers that several distillation jobs share."""
