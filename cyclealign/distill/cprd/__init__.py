"""CPRD (arXiv 2407.07479): a dual encoder learns a cross-encoder's order of its hard negatives."""
