from forebay_cache.mount.mountinfo import MountPoint, mounted_around, mounted_at, parse

TEXT = """\
22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
36 28 7:3 / /mnt/with\\040space\\134 ro,nosuid - erofs /dev/loop3 ro
37 36 7:4 / /mnt/twice ro master:1 - erofs /dev/loop4 ro
broken line
38 28 253:1 / /mnt/twice rw - ext4 /dev/vda rw
"""


def test_paths_are_unescaped_and_broken_lines_left_out() -> None:
    assert list(parse(TEXT)) == [
        MountPoint("/sys", "0:21", "sysfs", shared=True),
        MountPoint("/mnt/with space\\", "7:3", "erofs"),
        MountPoint("/mnt/twice", "7:4", "erofs"),
        MountPoint("/mnt/twice", "253:1", "ext4"),
    ]


def test_this_machine_has_a_root() -> None:
    assert mounted_at("/proc") is not None
    assert mounted_at("/proc/nothing-is-mounted-here") is None


def test_a_path_lies_in_the_innermost_mount() -> None:
    assert mounted_around("/proc/nothing-is-mounted-here").target == "/proc"
    assert mounted_around("/proc").target == "/proc"
    assert mounted_around("/process").target == "/"
