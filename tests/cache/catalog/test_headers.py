"""Header records: kept over a restart; torn by a crash they are unknown, never wrong."""

import random
from pathlib import Path

from forebay_cache.catalog.headers import LONGEST, REMEMBERED, HeaderRecords

PLAIN = {"content-type": "image/jpeg"}


def test_headers_outlive_the_process(tmp_path: Path) -> None:
    records = HeaderRecords(str(tmp_path / "x"))
    assert records.get(0) is None
    records.put(3, PLAIN)
    records.put(0, {})
    records.put(70_000, {"x-amz-meta-ü": "\n\r\x1f ß", "content-type": "a"})
    records.close()
    records = HeaderRecords(str(tmp_path / "x"))
    assert records.get(3) == PLAIN
    assert records.get(0) == {}
    assert records.get(70_000) == {"x-amz-meta-ü": "\n\r\x1f ß", "content-type": "a"}
    assert [records.get(part) for part in (1, 2, 4, 70_001)] == [None] * 4
    records.close()


def test_the_newest_record_of_a_part_wins(tmp_path: Path) -> None:
    records = HeaderRecords(str(tmp_path / "x"))
    records.put(1, PLAIN)
    records.put(1, {"content-type": "b"})
    assert records.get(1) == {"content-type": "b"}
    records.close()


def test_equal_headers_are_written_once(tmp_path: Path) -> None:
    records = HeaderRecords(str(tmp_path / "x"))
    for part in range(1000):
        records.put(part, PLAIN)
    for part in range(1000, 1000 + 3 * REMEMBERED):
        records.put(part, {"x-amz-meta-n": str(part)})
    assert all(records.get(part) == PLAIN for part in range(1000))
    assert all(records.get(part) == {"x-amz-meta-n": str(part)} for part in range(1000, 1000 + 3 * REMEMBERED))
    assert (tmp_path / "x.sets").stat().st_size < 3 * REMEMBERED * 40
    records.close()


def test_headers_beyond_the_limit_are_not_recorded(tmp_path: Path) -> None:
    records = HeaderRecords(str(tmp_path / "x"))
    records.put(0, {"x-amz-meta-long": "x" * LONGEST})
    assert records.get(0) is None
    records.close()


def test_what_a_crash_tore_is_unknown_and_never_another_parts(tmp_path: Path) -> None:
    """Either file may have lost its end or hold zeros or garbage there, and then be written on."""
    source = random.Random(11)
    path = tmp_path / "x"
    want = {part: {"x-amz-meta-part": str(part), "x": "y" * source.randrange(30)} for part in range(40)}
    for _ in range(150):
        for name in (".sets", ".index"):
            path.with_suffix(name).unlink(missing_ok=True)
        records = HeaderRecords(str(path))
        for part in range(30):
            records.put(part, want[part])
        records.close()
        for name in (".sets", ".index"):
            data = path.with_suffix(name).read_bytes()
            cut = source.randrange(len(data) + 1)
            rest = source.choice([b"", bytes(len(data) - cut), source.randbytes(len(data) - cut)])
            path.with_suffix(name).write_bytes(data[:cut] + rest)
        records = HeaderRecords(str(path))
        for part in range(20, 40):
            if source.random() < 0.5:
                records.put(part, want[part])
                assert records.get(part) == want[part]
        assert all(records.get(part) in (None, want[part]) for part in range(40))
        records.close()
