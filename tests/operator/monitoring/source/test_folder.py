from pathlib import Path

import pytest

from forebay_operator.model import MonitoringRefused
from forebay_operator.monitoring.source.base import Limits
from forebay_operator.monitoring.source.folder import read_folder


def test_a_folder_reads_as_its_commit_would(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_text("x")
    (tmp_path / "forebay.yaml").write_text("schema: 1\n")
    (tmp_path / ".git").mkdir()
    assert list(read_folder(tmp_path)) == ["b/x", "forebay.yaml"]


def test_links_and_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "forebay.yaml").write_text("schema: 1\n")
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(MonitoringRefused, match="link: MAC001"):
        read_folder(tmp_path)
    (tmp_path / "link").unlink()
    with pytest.raises(MonitoringRefused, match=r"forebay.yaml: MAC003"):
        read_folder(tmp_path, Limits(file_bytes=3))
