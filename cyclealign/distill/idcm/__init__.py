"""IDCM, the cascade inside a document (arXiv 2105.09816): ESM chooses k windows of it, ETM scores only those."""
