"""LEAF: a small text-embedding model learns a large one's vectors, so that both share one space (arXiv 2509.12539)."""
