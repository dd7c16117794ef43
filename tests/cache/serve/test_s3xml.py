from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.catalog.base import Entry
from forebay_cache.model.ids import Extent, SegmentId
from forebay_cache.serve import s3xml

SPACE = f"{{{s3xml.NAMESPACE}}}"


def entry(key: bytes, etag: str = "e&tag") -> Entry:
    return Entry(key, 5, 1_700_000_000_123, etag, Extent(SegmentId(bytes(32)), 0, 5))


def test_an_error_document() -> None:
    found = ET.fromstring(s3xml.error("NoSuchKey", "not <here> & now", '/b/ü"k', "0A"))
    assert [(child.tag, child.text) for child in found] == [
        ("Code", "NoSuchKey"),
        ("Message", "not <here> & now"),
        ("Resource", '/b/ü"k'),
        ("RequestId", "0A"),
    ]


def test_a_listing() -> None:
    page = s3xml.Listing(
        "b", [entry(b"a<b"), entry(b"c", "")], [b"d/"], True, False, [("Prefix", ""), ("KeyCount", "3")]
    )
    found = ET.fromstring(s3xml.listing(page))
    assert found.findtext(f"{SPACE}Name") == "b"
    assert found.findtext(f"{SPACE}IsTruncated") == "true"
    assert [key.text for key in found.iter(f"{SPACE}Key")] == ["a<b", "c"]
    assert [tag.text for tag in found.iter(f"{SPACE}ETag")] == ['"e&tag"']
    assert next(found.iter(f"{SPACE}LastModified")).text == "2023-11-14T22:13:20.123Z"
    assert found.findtext(f"{SPACE}CommonPrefixes/{SPACE}Prefix") == "d/"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_comes_back_or_is_a_reference(key: str) -> None:
    body = s3xml.text(key)
    assert "<" not in body
    assert all(ord(char) >= 32 or char in "\t\n" for char in body)


def test_what_xml_cannot_hold_is_percent_encoded_on_request() -> None:
    page = s3xml.Listing("b", [entry(b"a\x01 \xff/+")], [], False, True, [])
    found = ET.fromstring(s3xml.listing(page))
    assert [key.text for key in found.iter(f"{SPACE}Key")] == ["a%01%20%FF/%2B"]


def test_the_small_documents() -> None:
    assert b"<LocationConstraint" in s3xml.location("us-east-1")
    assert ET.fromstring(s3xml.location("us-east-1")).text is None
    assert ET.fromstring(s3xml.location("eu-west-1")).text == "eu-west-1"
    assert len(ET.fromstring(s3xml.versioning())) == 0
    names = ET.fromstring(s3xml.buckets("me", [("a", 0), ("b", 1)])).iter(f"{SPACE}Name")
    assert [name.text for name in names] == ["a", "b"]
