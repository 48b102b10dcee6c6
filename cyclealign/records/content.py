"""Ids and seeds that follow from content."""

import hashlib
import json


def content_id(*parts: object) -> str:
    """Return a 24-digit hexadecimal id that is the same for the same content, on any machine.

    ``parts`` are JSON values; tuples count as lists and the order of keys does not count.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def seed_from(*parts: object) -> int:
    """Return a 63-bit seed derived from content, so that a resumed run draws what the first one drew."""
    return int(content_id(*parts)[:16], 16) >> 1
