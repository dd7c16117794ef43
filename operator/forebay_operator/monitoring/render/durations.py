"""Durations as Prometheus writes them. Pure."""

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
WHOLE = re.compile(r"(([0-9]+)(ms|[smhdwy]))+")


def seconds(text: str) -> float:
    """Raises ValueError."""
    if text == "0":
        return 0
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    return float(sum(int(number) * UNITS[unit] for number, unit in PART.findall(text)))
