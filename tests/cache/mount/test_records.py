from pathlib import Path

from forebay_cache.model.ids import CommitId
from forebay_cache.mount.records import Record, Records

ONE = Record("c", "d", CommitId("e" * 64), "/mnt/über", "7:1", made=True)
TWO = Record("c", "d", CommitId("f" * 64), "/mnt/two", "7:2", made=False)


def test_records_survive_their_writer(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    records.put(ONE)
    records.put(TWO)
    assert sorted(Records(str(tmp_path)), key=lambda record: record.device) == [ONE, TWO]
    records.remove(ONE.target)
    records.remove(ONE.target)
    assert list(Records(str(tmp_path))) == [TWO]


def test_a_record_cut_short_is_left_out(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    records.put(ONE)
    (tmp_path / "half.json").write_text('{"target": "/mn')
    (tmp_path / "other.json").write_text('{"unknown": 1}')
    (tmp_path / "half.json.new").write_text("{")
    assert list(records) == [ONE]
