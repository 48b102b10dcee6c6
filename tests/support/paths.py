"""Folders of the checkout, and the folder of real data next to it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ROOT / "prompts"
SHARED = ROOT.parent / "shared"
