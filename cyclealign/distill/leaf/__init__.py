"""LEAF: distil a text-embedding model so that the student shares the teacher's vector space (arXiv 2509.12539)."""
