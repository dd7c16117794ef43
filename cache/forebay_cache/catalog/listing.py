"""Pages of a commit in S3 order: prefix, delimiter, start-after; right across the borders of leaves."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from forebay_cache.catalog.base import Entry, Page
from forebay_cache.catalog.leaf import Leaf


class Shelf:
    """The leaves of a commit side by side: a position is (leaf, index)."""

    def __init__(self, firsts: Sequence[bytes], leaves: Sequence[Leaf]) -> None:
        self._firsts = firsts
        self._leaves = leaves

    def find(self, key: bytes) -> Entry | None:
        number = bisect_right(self._firsts, key) - 1
        return self._leaves[number].find(key) if number >= 0 else None

    def entries(self, start: bytes = b"") -> Iterator[Entry]:
        """All entries with key >= start."""
        number = max(0, bisect_right(self._firsts, start) - 1)
        for leaf in self._leaves[number : number + 1]:
            yield from leaf.entries(leaf.lower(start))
        for leaf in self._leaves[number + 1 :]:
            yield from leaf.entries()

    def page(self, prefix: bytes, delimiter: bytes, start_after: bytes, limit: int) -> Page:
        """`start_after` is a key or a common prefix: everything below a common prefix was told already."""
        found: list[Entry] = []
        prefixes: list[bytes] = []
        last = b""
        begin: bytes | None = _begin(prefix, delimiter, start_after)
        while begin is not None:
            entries, begin = self.entries(begin), None
            for entry in entries:
                if not entry.key.startswith(prefix):
                    break
                if len(found) + len(prefixes) == limit:
                    return Page(found, prefixes, last)
                common = _common(entry.key, prefix, delimiter)
                last = common or entry.key
                if common is None:
                    found.append(entry)
                    continue
                prefixes.append(common)
                begin = after(common)  # skip all it stands for
                break
        return Page(found, prefixes, None)


def after(prefix: bytes) -> bytes | None:
    """The least key greater than every key with this prefix; None: there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def _begin(prefix: bytes, delimiter: bytes, start_after: bytes) -> bytes | None:
    if not start_after or start_after < prefix:
        return prefix
    if delimiter and len(start_after) > len(prefix) and start_after.endswith(delimiter):
        return after(start_after) if _common(start_after, prefix, delimiter) == start_after else start_after + b"\0"
    return start_after + b"\0"


def _common(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return key[: end + len(delimiter)] if end >= 0 else None
