import io

import pytest
from examples.demo.generator import BLOCK, PHOTO_SIZE, Shape, blocks, names, photo
from PIL import Image

SHAPE = Shape(photos=12, folders=5, archives=2, archive_size=BLOCK + 7)


def test_every_photo_is_a_picture_of_the_same_size() -> None:
    for name in names(Shape(200, 60, 0, 0)):
        data = photo(name)
        assert len(data) == PHOTO_SIZE
        assert data.startswith(b"\xff\xd8\xff")
    with Image.open(io.BytesIO(photo("photos/class-000/image-00000.jpg"))) as picture:
        picture.load()
        assert picture.size == (256, 256)


def test_a_name_determines_its_bytes_and_no_two_files_share_them() -> None:
    made = [b"".join(blocks(name, SHAPE)) for name in names(SHAPE)]
    assert made == [b"".join(blocks(name, SHAPE)) for name in names(SHAPE)]
    assert len(set(made)) == len(made)


def test_the_files_have_the_sizes_that_the_shape_says() -> None:
    assert sum(len(block) for name in names(SHAPE) for block in blocks(name, SHAPE)) == SHAPE.size


@pytest.mark.parametrize("name", names(SHAPE))
def test_names_lie_in_folders(name: str) -> None:
    assert name.split("/", maxsplit=1)[0] in {"photos", "archives"}
