"""Export an experiment's rankings as data sets that other tools read, with a card that tells each row's origin."""

from cyclealign.export.folder import Exported, ExportRequest, export

__all__ = ["ExportRequest", "Exported", "export"]
