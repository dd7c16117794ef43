import pytest

from forebay_cache.model.errors import BadInput
from forebay_cache.serve.request import Request, Target, target_of


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/", Target("", b"")),
        (b"/b", Target("b", b"")),
        (b"/b/", Target("b", b"")),
        (b"/b/a//b", Target("b", b"a//b")),
        (b"/b/../c", Target("b", b"../c")),
        (b"/b/a/./b/..", Target("b", b"a/./b/..")),
        (b"/b//", Target("b", b"/")),
        (b"/b/%2e%2e/x%2Fy", Target("b", b"../x/y")),
        (b"/b/a+b%20c", Target("b", b"a+b c")),
        (b"/b/%FF", Target("b", b"\xff")),
        (b"http://host:1/b/k", Target("b", b"k")),
        (b"HTTP://host", Target("", b"")),
    ],
)
def test_keys_are_never_normalised(path: bytes, target: Target) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize("path", [b"", b"b", b"*", b"ftp://h/b", b"/b/%", b"/b/%4", b"/b/%zz"])
def test_what_is_no_path_is_refused(path: bytes) -> None:
    with pytest.raises(BadInput):
        target_of(path)


def test_the_query_is_kept_apart() -> None:
    request = Request(b"GET", b"/b/k?a=1?2", {}, keep_alive=True, started=0.0)
    assert (request.path, request.query) == (b"/b/k", b"a=1?2")
