"""PLD: a classifier learns the teacher's order of the classes by a Plackett-Luce loss (arXiv 2506.12542)."""
