"""IDCM: a cascade inside a document (arXiv 2105.09816). ESM selects k windows, and only these are scored by ETM."""
