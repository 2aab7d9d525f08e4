"""What a step's record looks like as a flat table."""

from __future__ import annotations

from typing import Any


def flatten(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested measurements under joined names.

    >>> flatten({"step": 3, "layers": {"0": {"reshaped": 1.5}}})
    {'step': 3, 'layers/0/reshaped': 1.5}
    """
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value
    return flat
