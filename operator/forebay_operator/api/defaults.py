"""Checks and completes an object in Python exactly as the API server does from the CRD: schema, defaults, rules.

Unknown fields are reported, as the API server does for a client that asks for strict field validation (kubectl does).
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from forebay_operator.api import crd
from forebay_operator.api.rules import FieldError, broken

__all__ = ["FieldError", "checked"]

Schema = Mapping[str, Any]
BLOCKING = frozenset({"enum", "required", "maxLength", "maxItems", "type", "unknown"})
"""After one of these the API server does not look at rules: they could not rely on the object's shape."""

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}
LIMITS: Mapping[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    # schema word -> the type it is for, whether a value keeps it, what is said otherwise
    "enum": ("", lambda value, limit: value in limit, "unsupported value: supported are {}"),
    "minimum": ("integer", lambda value, limit: value >= limit, "should be greater than or equal to {}"),
    "maximum": ("integer", lambda value, limit: value <= limit, "should be less than or equal to {}"),
    "minLength": ("string", lambda value, limit: len(value) >= limit, "should be at least {} chars long"),
    "maxLength": ("string", lambda value, limit: len(value) <= limit, "may not be more than {} chars long"),
    "pattern": ("string", lambda value, limit: matches(limit, value), "should match '{}'"),
    "minItems": ("array", lambda value, limit: len(value) >= limit, "should have at least {} items"),
    "maxItems": ("array", lambda value, limit: len(value) <= limit, "must have at most {} items"),
    "maxProperties": ("object", lambda value, limit: len(value) <= limit, "must have at most {} entries"),
}


def checked(
    kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError]]:
    """`new` with defaults, and what is wrong with it as a change of `old` (None: as a new object)."""
    full = crd.schema(kind)
    whole = completed(full, new)
    errors = faults(full, whole, "")
    if not any(error.rule in BLOCKING for error in errors):
        errors += broken(kind, old, whole)
    return whole, errors


def completed(schema: Schema, value: Any) -> Any:
    """`value` with the schema's defaults. A null counts as left out where there is a default."""
    if isinstance(value, list):
        return [completed(schema.get("items", {}), item) for item in value]
    if not isinstance(value, Mapping):
        return value
    whole = dict(value)
    for name, child in schema.get("properties", {}).items():
        if "default" in child and whole.get(name) is None:
            whole[name] = child["default"]
        if name in whole:
            whole[name] = completed(child, whole[name])
    return whole


def faults(schema: Schema, value: Any, path: str) -> list[FieldError]:
    """What `schema` says against `value`; nothing below a wrong type is looked at."""
    if schema.get("x-kubernetes-int-or-string"):
        known = TYPES["integer"](value) or isinstance(value, str)
    else:
        known = TYPES[schema["type"]](value)
    if not known:
        said = schema.get("type", "integer or string")
        return [FieldError(path, "type", f"must be of type {said}, not {json.dumps(value)[:40]}")]
    errors = [
        FieldError(path, word, text.format(schema[word]))
        for word, (kind, keeps, text) in LIMITS.items()
        if word in schema and (not kind or TYPES[kind](value)) and not keeps(value, schema[word])
    ]
    if isinstance(value, Mapping):
        errors += field_faults(schema, value, path)
    if isinstance(value, list):
        for number, item in enumerate(value):
            errors += faults(schema["items"], item, f"{path}[{number}]")
        errors += twins(schema, value, path)
    return errors


def field_faults(schema: Schema, value: Mapping[str, Any], path: str) -> list[FieldError]:
    inside = f"{path}." if path else ""
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    errors = [
        FieldError(inside + name, "required", "required") for name in schema.get("required", ()) if name not in value
    ]
    for name, child in value.items():
        if name in known:
            errors += faults(known[name], child, inside + name)
        elif rest:
            errors += faults(rest, child, inside + name)
        elif path != "metadata":
            errors.append(FieldError(inside + name, "unknown", "unknown field"))
    return errors


def twins(schema: Schema, items: list[Any], path: str) -> list[FieldError]:
    """Items of a keyed list that have the same key."""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if not keys or not all(isinstance(item, Mapping) for item in items):
        return []
    seen: set[str] = set()
    errors = []
    for number, item in enumerate(items):
        key = json.dumps([item.get(name) for name in keys])
        if key in seen:
            errors.append(FieldError(f"{path}[{number}]", "duplicate", f"duplicate {', '.join(keys)}: {key}"))
        seen.add(key)
    return errors


def matches(pattern: str, text: str) -> bool:
    """Go's meaning: `$` is the end of the text, not the place before a last newline."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None
