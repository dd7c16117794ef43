import hashlib

from examples.demo.generator import Shape, blocks, names
from examples.demo.train import Sample, judged

SHAPE = Shape(photos=5, folders=2, archives=1, archive_size=1000)


def samples() -> list[Sample]:
    made = [(name, b"".join(blocks(name, SHAPE))) for name in names(SHAPE)]
    return [Sample(name, len(data), hashlib.sha256(data).digest(), n, n + 2) for n, (name, data) in enumerate(made)]


def test_the_clock_runs_from_the_first_open_to_the_last_byte() -> None:
    assert judged(samples(), SHAPE, lambda _: None).seconds == 7


def test_a_file_that_nobody_read_counts_as_wrong() -> None:
    assert judged(samples()[1:], SHAPE, lambda _: None).wrong == 1


def test_a_file_that_was_read_twice_counts_as_wrong() -> None:
    assert judged([*samples(), samples()[0]], SHAPE, lambda _: None).wrong == 1
