"""PLD (arXiv 2506.12542): a classifier learns the teacher's order of the classes with a Plackett-Luce loss."""
