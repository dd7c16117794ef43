from pathlib import Path

import pytest
from tests.cache.csi.conftest import ATTRIBUTES, OLD

from forebay_cache.contract.agent import ResolvedCommit
from forebay_cache.csi.records import Records, Volume
from forebay_cache.model.errors import ConfigError

ONE = Volume(
    id="v",
    attributes=ATTRIBUTES,
    resolved=ResolvedCommit(dataset_uid="d-1", commit=OLD, files=1, bytes=2, member_socket="/m"),
    staged=("/s",),
    published=("/a", "/ü"),
    boot_id="boot",
)


def test_volumes_survive_their_writer(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    records.put(ONE)
    records.close()
    again = Records(str(tmp_path))
    assert again.all() == [ONE]
    again.remove("v")
    again.remove("v")
    again.close()
    last = Records(str(tmp_path))
    assert last.all() == []
    last.close()


def test_what_a_crash_left_half_written_is_removed_and_what_cannot_be_read_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.json.new").write_text("{")
    (tmp_path / "y.json").write_text('{"id": "y"}')
    (tmp_path / "z.json").write_text("{")
    records = Records(str(tmp_path))
    assert records.all() == []
    assert not (tmp_path / "x.json.new").exists()
    records.close()


def test_one_driver_alone_uses_a_folder(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    with pytest.raises(ConfigError, match="another CSI node runs"):
        Records(str(tmp_path))
    records.close()
    with pytest.raises(ConfigError, match="state_path"):
        Records("/proc/none/x")


def test_a_volume_is_idle_from_its_last_path_on() -> None:
    some = ONE.without("/a", 5.0)
    assert (some.published, some.idle_since) == (("/ü",), None)
    none = some.without("/ü", 6.0).without("/s", 7.0)
    assert (none.paths, none.idle_since) == ((), 7.0)
    assert none.without("/s", 9.0).idle_since == 7.0
    assert none.with_staged("/s").idle_since is None
    assert ONE.with_published("/a") == ONE
