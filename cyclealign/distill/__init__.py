"""Distillation jobs: a package each, which imports none of the others, and the nouns that they share."""
