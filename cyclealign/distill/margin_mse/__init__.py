"""Margin-MSE: a cross-encoder's score margins taught to faster rankers (Hofstätter et al., arXiv 2010.02666)."""
