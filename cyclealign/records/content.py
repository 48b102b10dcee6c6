"""Ids and seeds that follow from content."""

import hashlib
import json


def content_id(*parts: object) -> str:
    """Return 24 hexadecimal digits of SHA-256 over the content: the same content gives the same id on any machine.

    ``parts`` are JSON values; tuples count as lists, and the order of keys does not matter.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def seed_from(*parts: object) -> int:
    """Return a 63-bit seed derived from content, so that a resumed run samples the same as an uninterrupted one."""
    return int(content_id(*parts)[:16], 16) >> 1
