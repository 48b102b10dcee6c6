"""Read prompts to align on from files and data sets in the forms that people have; all of a source or nothing."""

from cyclealign.prompt_import.reading import Imported, read_source, split_of

__all__ = ["Imported", "read_source", "split_of"]
