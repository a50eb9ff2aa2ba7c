"""Metadata that a file carries as one text: in a field of that kind, or after ncnn's last layer."""

from __future__ import annotations

import json

from fleetseg.errors import CheckpointError


def parsed_fields(text: str, source: str) -> dict[str, str]:
    """The fields; `CheckpointError` unless the text is an object of texts."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(f"{source}: has no fleetseg metadata; use a file that fleetseg export wrote")
    return found
