"""QuantiDCE (arXiv 2106.00507): a metric of dialogue coherence from multi-level ranking and a few human scores."""
