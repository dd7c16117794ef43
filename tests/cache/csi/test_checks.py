from typing import Any

import pytest
from tests.cache.csi.conftest import ATTRIBUTES, READER

from forebay_cache.csi import checks
from forebay_cache.csi.wire.csi_pb2 import VolumeCapability
from forebay_cache.model.errors import BadInput

MODES = VolumeCapability.AccessMode
KUBELET = "/var/lib/kubelet"


def capability(mode: Any = MODES.MULTI_NODE_READER_ONLY, **mount: Any) -> VolumeCapability:
    return VolumeCapability(mount=VolumeCapability.MountVolume(**mount), access_mode=MODES(mode=mode))


def test_what_a_kubelet_asks_for_a_reader_is_fine() -> None:
    checks.capability(READER, given=True)
    checks.capability(capability(MODES.SINGLE_NODE_READER_ONLY, mount_flags=["ro", "noatime"]), given=True)
    checks.capability(capability(fs_type="erofs"), given=True)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (VolumeCapability(), "access_type is missing"),
        (VolumeCapability(block={}), "volumeMode Filesystem"),
        (capability(MODES.UNKNOWN), "access_mode is missing"),
        (capability(MODES.SINGLE_NODE_WRITER), "SINGLE_NODE_WRITER.*ReadOnlyMany"),
        (capability(MODES.SINGLE_NODE_MULTI_WRITER), "SINGLE_NODE_MULTI_WRITER"),
        (capability(99), "access_mode 99"),
        (capability(fs_type="ext4"), "fs_type ext4"),
        (capability(mount_flags=["ro", "rw"]), "read-only always"),
        (capability(mount_flags=["dax"]), "dax is not known"),
    ],
)
def test_what_a_dataset_is_not_is_refused_in_words(asked: VolumeCapability, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        checks.capability(asked, given=True)


def test_every_mode_is_either_a_reader_or_refused() -> None:
    readers = []
    for mode in MODES.Mode.values():
        try:
            checks.capability(capability(mode), given=True)
        except BadInput:
            continue
        readers.append(MODES.Mode.Name(mode))
    assert readers == ["SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is missing"),
        ("relative", "absolute"),
        (f"{KUBELET}/../etc", "absolute path without"),
        (f"{KUBELET}/a\0b", "absolute"),
        ("/etc", "not below /var/lib/kubelet; set kubeletDir"),
        ("/var/lib/kubelet2/x", "not below"),
        (KUBELET, "not below"),
    ],
)
def test_paths_stay_below_the_kubelets(value: str, words: str) -> None:
    with pytest.raises(BadInput, match=f"target_path.*{words}"):
        checks.path("target_path", value, KUBELET)


def test_a_path_of_the_kubelets_is_fine() -> None:
    assert checks.path("f", f"{KUBELET}/pods/x/mount/", f"{KUBELET}/") == f"{KUBELET}/pods/x/mount"


def test_attributes_are_read_and_what_is_not_ours_is_left_out() -> None:
    context = {**ATTRIBUTES.attributes(), "csi.storage.k8s.io/pod.name": "p", "newer": "1"}
    assert checks.attributes(context) == ATTRIBUTES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasetUid": None}, "datasetUid: Field required"),
        ({"clusterUid": "../../x"}, "clusterUid"),
        ({"datasetName": ""}, "datasetName"),
        ({"commit": "newest"}, "commit"),
        ({"commit": "abc"}, "commit"),
        ({"csi.storage.k8s.io/ephemeral": "true"}, "inline volume"),
    ],
)
def test_bad_attributes_are_named(change: dict[str, str | None], words: str) -> None:
    context = {name: value for name, value in {**ATTRIBUTES.attributes(), **change}.items() if value is not None}
    with pytest.raises(BadInput, match=f"volume_context: .*{words}"):
        checks.attributes(context)


def test_volume_ids_are_bounded() -> None:
    assert checks.volume_id("v" * 128)
    with pytest.raises(BadInput, match="volume_id must have at most 128 bytes"):
        checks.volume_id("ü" * 65)
