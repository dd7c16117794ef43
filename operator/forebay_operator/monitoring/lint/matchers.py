"""Alertmanager's matchers: `name="value"`, and =~, !=, !~. Pure.

A regular expression comes from a repository and runs here on short labels, so only what cannot run away is taken: no
quantified groups, no back-references, few quantifiers. RE2 would take more; nobody needs it to route an alert.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

FORM = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"{}!=~,]*))\s*')
RUNAWAY = re.compile(r"\)[*+?{]|\\[0-9]|\(\?|[*+}][*+?{]")
QUANTIFIERS = re.compile(r"[*+{]")
QUANTIFIER_LIMIT, LENGTH_LIMIT = 3, 512


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    operation: str
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        """A label that is not there is empty."""
        have = labels.get(self.name, "")
        same = bool(re.fullmatch(self.value, have)) if "~" in self.operation else have == self.value
        return same != self.operation.startswith("!")


def read_matcher(text: str) -> Matcher:
    """Raises ValueError."""
    found = FORM.fullmatch(text)
    if not found:
        raise ValueError(f'{text!r} is no matcher; write name="value"')
    name, operation, quoted, bare = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None and "~" not in operation else quoted or bare or ""
    if "~" in operation:
        check_regex(value)
    return Matcher(name, operation, value)


def check_regex(value: str) -> None:
    if len(value) > LENGTH_LIMIT or RUNAWAY.search(value) or len(QUANTIFIERS.findall(value)) > QUANTIFIER_LIMIT:
        raise ValueError(f"{value!r}: a regular expression of names, `|`, `.` and at most three of `*` and `+`, please")
    try:
        re.compile(value)
    except re.error as exc:
        raise ValueError(f"{value!r} is no regular expression: {exc}") from exc
