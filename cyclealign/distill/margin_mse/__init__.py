"""Margin-MSE: distil the score margins of cross-encoders into faster rankers (Hofstätter et al., arXiv 2010.02666)."""
