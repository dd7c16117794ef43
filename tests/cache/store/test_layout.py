from collections import Counter

import pytest
from tests.rigs.chunks import chunk

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId
from forebay_cache.store.layout import (
    FILE_SIZE,
    FOOTER_AT,
    Footer,
    blocks_of,
    check_length,
    complete_name,
    folder_of,
    parse_footer,
    parse_name,
    partial_name,
)


def test_a_footer_that_lacks_nothing_is_as_the_first_format_had_it() -> None:
    plain = Footer(chunk(7), CHUNK_SIZE, 3, 1).pack()
    assert plain[68:] == bytes(len(plain) - 68)
    assert plain[48:52] == (1).to_bytes(4, "little")
    lacking = Footer(chunk(7), CHUNK_SIZE, 3, 1, b"\x01" + bytes(255))
    assert parse_footer(lacking.pack()) == lacking
    assert lacking.pack()[48:52] == (2).to_bytes(4, "little")


def test_the_regions_are_where_other_programs_look_for_them() -> None:
    assert FOOTER_AT == (8 << 20) + 8192
    assert FILE_SIZE == FOOTER_AT + 4096


@pytest.mark.parametrize("number", [0, 1, 4095, 2**40])
def test_names_tell_the_chunk(number: int) -> None:
    name = ChunkId(SegmentId(bytes(range(32))), number)
    assert parse_name(complete_name(name).rpartition("/")[2]) == (name, False)
    assert parse_name(partial_name(name).rpartition("/")[2]) == (name, True)
    assert complete_name(name).startswith(folder_of(name) + "/")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "ab-1",
        "0" * 64,
        "0" * 64 + "-",
        "0" * 64 + "-01",
        "0" * 64 + "--1",
        "0" * 64 + "-1.tmp",
        "G" * 64 + "-1",
    ],
)
def test_other_names_are_not_chunks(name: str) -> None:
    assert parse_name(name) is None


def test_the_chunks_of_one_segment_fill_the_folders_evenly() -> None:
    folders = [folder_of(chunk(number)) for number in range(3 * 4096)]
    assert set(Counter(folders).values()) == {3}
    assert len(set(folders)) == 4096


def test_a_footer_tells_what_the_file_is() -> None:
    footer = Footer(chunk(7), 5 * BLOCK_SIZE, 99, 3)
    assert parse_footer(footer.pack()) == footer


def test_a_damaged_footer_is_none() -> None:
    good = Footer(chunk(7), CHUNK_SIZE, 0, 1).pack()
    for at in range(len(good)):
        assert parse_footer(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]) is None
    for broken in (b"", good[:-1], good + b"\0", bytes(len(good))):
        assert parse_footer(broken) is None


@pytest.mark.parametrize(
    ("start", "stop", "blocks"), [(0, 1, (0, 1)), (0, 4096, (0, 1)), (4095, 4097, (0, 2)), (8192, 8193, (2, 3))]
)
def test_blocks_of_a_range(start: int, stop: int, blocks: tuple[int, int]) -> None:
    assert blocks_of(start, stop) == blocks


def test_lengths() -> None:
    for length in (BLOCK_SIZE, CHUNK_SIZE):
        check_length(length)
    for length in (0, 1, -BLOCK_SIZE, CHUNK_SIZE + BLOCK_SIZE):
        with pytest.raises(ValueError, match="not"):
            check_length(length)
