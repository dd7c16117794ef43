"""What an S3 store's answers say, as our values; checked against what was asked for."""

from collections.abc import Mapping
from typing import Any

from forebay_cache.model.errors import OriginBadAnswer, OriginChanged
from forebay_cache.origin.base import Match, ObjectHead, OriginObject

BOTO_HEADERS = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
}
RUST_HEADERS = {
    "Content-Type": "content-type",
    "Content-Encoding": "content-encoding",
    "Content-Disposition": "content-disposition",
    "Content-Language": "content-language",
    "Cache-Control": "cache-control",
}
"""obstore's names of headers are capitalised; those of x-amz-meta-* come in lower case, so the two never meet."""


def listed(page: Mapping[str, Any]) -> list[OriginObject]:
    """The objects of one page of a listing."""
    return [
        OriginObject(
            entry["Key"].encode(), entry["Size"], milliseconds(entry["LastModified"]), _etag(entry.get("ETag"))
        )
        for entry in page.get("Contents", ())
    ]


def whole(page: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """The same page. A parser takes a log-in page or an empty body for an empty listing, and that would mean that every
    object was deleted. Raises OriginBadAnswer."""
    if "IsTruncated" not in page or (page["IsTruncated"] and not page.get("NextContinuationToken")):
        raise OriginBadAnswer(f"{what}: the answer is no listing; is this an S3 store?")
    return page


def ordered(page: list[OriginObject], after: bytes) -> list[OriginObject]:
    """The same page. Raises OriginBadAnswer where keys do not ascend: packing and paging rest on that."""
    for found in page:
        if found.key <= after:
            raise OriginBadAnswer(f"listing: key {show(found.key)} came after {show(after)}, not in byte order")
        after = found.key
    return page


def head_of_boto(key: bytes, answer: Mapping[str, Any]) -> ObjectHead:
    """Of HEAD or GET; a ranged GET tells the whole size in Content-Range."""
    if "LastModified" not in answer:
        raise OriginBadAnswer(f"object {show(key)}: the answer has no Last-Modified; is this an S3 store?")
    whole = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
    found = OriginObject(
        key,
        int(whole),
        milliseconds(answer["LastModified"]),
        _etag(answer.get("ETag")),
        _version(answer.get("VersionId")),
    )
    headers = {ours: answer[theirs] for theirs, ours in BOTO_HEADERS.items() if answer.get(theirs)}
    meta = {f"x-amz-meta-{name.lower()}": value for name, value in answer.get("Metadata", {}).items()}
    return ObjectHead(found, headers | meta)


def head_of_rust(key: bytes, result: Any) -> ObjectHead:
    meta = result.meta
    found = OriginObject(
        key, meta["size"], milliseconds(meta["last_modified"]), _etag(meta["e_tag"]), _version(meta["version"])
    )
    return ObjectHead(found, dict(filter(None, map(_rust_header, result.attributes.items()))))


def range_of_boto(answer: Mapping[str, Any]) -> tuple[int, int]:
    """[start, stop) that came, from "bytes 2-4/10"; all of it where nothing is said."""
    if not (said := answer.get("ContentRange")):
        return 0, int(answer["ContentLength"])
    first, _, last = said.removeprefix("bytes ").partition("/")[0].partition("-")
    return int(first), int(last) + 1


def checked(head: ObjectHead, match: Match) -> ObjectHead:
    """The same head. Some stores ignore If-Match and versionId: what came is compared as well. Raises OriginChanged, and
    OriginBadAnswer where it cannot be compared."""
    found, what = head.object, f"object {show(head.object.key)}"
    if match.etag and not found.etag:
        raise OriginBadAnswer(f"{what}: the answer has no ETag, its listing had; which bytes came is not known")
    if match.etag and found.etag != match.etag:
        raise OriginChanged(f"{what}: ETag is {found.etag}, not {match.etag}")
    if match.version and found.version and found.version != match.version:
        raise OriginChanged(f"{what}: version is {found.version}, not {match.version}")
    if match.size is not None and found.size != match.size:
        raise OriginChanged(f"{what}: {found.size} bytes, not {match.size}")
    return head


def check_range(head: ObjectHead, came: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Stores cut a range that reaches past the end, without a word."""
    found, what = head.object, f"object {show(head.object.key)}"
    if wanted[1] > found.size:
        raise OriginChanged(f"{what}: {found.size} bytes, but bytes up to {wanted[1]} were asked for")
    if wanted[0] < wanted[1] and came != wanted:
        raise OriginBadAnswer(f"{what}: bytes {list(came)} came, not {list(wanted)}")


def show(key: bytes) -> str:
    return repr(key.decode(errors="backslashreplace"))


def milliseconds(moment: Any) -> int:
    """Whole seconds: a listing may know more than a header does, and both must agree."""
    return int(moment.timestamp()) * 1000


def _rust_header(named: tuple[str, str]) -> tuple[str, str] | None:
    name, value = named
    if ours := RUST_HEADERS.get(name):
        return (ours, value) if value else None
    return (f"x-amz-meta-{name}", value) if name == name.lower() else None


def _etag(quoted: str | None) -> str:
    return (quoted or "").strip('"')


def _version(given: str | None) -> str | None:
    """ "null" is the version of an unversioned object: it may be overwritten, so it names nothing."""
    return None if given in (None, "", "null") else given
