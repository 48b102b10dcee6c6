"""Folders of the checkout, and of the real data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ROOT / "prompts"
SHARED = ROOT.parent / "shared"
