import pathlib

import pytest
from examples.demo import readers, upload
from examples.demo.generator import Shape, names
from examples.demo.stack import DemoFailed
from examples.demo.train import Pass, Result

SHAPE = Shape(photos=70, folders=6, archives=2, archive_size=3 << 20)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    upload.to_directory(tmp_path, SHAPE, lambda _: None)
    return tmp_path


def read(folder: pathlib.Path, told: list[tuple[int, int]] | None = None) -> Result:
    what = Pass(str(folder), SHAPE, seed=3, width=3)
    return readers.run(readers.PLAIN, what, lambda *sizes: (told or []).append(sizes))


def test_the_training_program_reads_every_file_once_and_finds_nothing_wrong(folder: pathlib.Path) -> None:
    result = read(folder)
    assert (result.files, result.bytes, result.wrong) == (72, SHAPE.size, 0)
    assert result.seconds > 0


def test_its_progress_tells_each_byte_read_and_each_byte_verified(folder: pathlib.Path) -> None:
    told = [(0, 0)]
    read(folder, told)
    assert [sum(column) for column in zip(*told, strict=True)] == [SHAPE.size, SHAPE.size]


@pytest.mark.parametrize("name", [names(SHAPE)[0], names(SHAPE)[-1]])
def test_one_changed_byte_is_a_wrong_file(folder: pathlib.Path, name: str) -> None:
    with open(folder / name, "r+b") as file:
        file.seek(50_001)
        byte = file.read(1)[0]
        file.seek(50_001)
        file.write(bytes([byte ^ 1]))
    assert read(folder).wrong == 1


def test_a_byte_too_few_is_a_wrong_file(folder: pathlib.Path) -> None:
    with open(folder / names(SHAPE)[5], "r+b") as file:
        file.truncate(99_999)
    assert read(folder).wrong == 1


def test_an_absent_file_ends_the_pass_with_its_name(folder: pathlib.Path) -> None:
    (folder / names(SHAPE)[5]).unlink()
    with pytest.raises(DemoFailed, match="image-00005"):
        read(folder)


def test_passes_differ_in_their_order_and_not_in_their_files() -> None:
    first, second = (Pass("", SHAPE, seed, 1).order() for seed in (1, 2))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(names(SHAPE))
