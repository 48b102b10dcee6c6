"""IDCM: the cascade inside a document (arXiv 2105.09816). ESM chooses k windows of a document, ETM scores only those."""
