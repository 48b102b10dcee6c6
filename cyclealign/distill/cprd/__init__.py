"""CPRD: a dual encoder learns a cross-encoder's order of its hard negatives (arXiv 2407.07479)."""
