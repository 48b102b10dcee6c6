"""Encoders, pooling and tokenizers that jobs share."""
