"""QuantiDCE: a coherence metric of dialogue, by multi-level ranking, then few human scores (arXiv 2106.00507)."""
