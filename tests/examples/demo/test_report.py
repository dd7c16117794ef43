from examples.demo.asked import Asked
from examples.demo.report import STRAIGHT, Row, cells, saved
from examples.demo.train import Result

BEFORE = Row(STRAIGHT, Result(10, 10_000_000, 5.0, 0), Asked(10, 10_000_000))
COLD = Row("1 cold", Result(10, 10_000_000, 5.5, 0), Asked(12, 10_000_000))
WARM = Row("2 from the store", Result(10, 10_000_000, 0.5, 0), Asked(0, 2_500_000))


def test_the_hit_ratio_is_what_the_origin_need_not_give() -> None:
    assert (COLD.hit_ratio, WARM.hit_ratio) == (0.0, 0.75)


def test_a_pass_that_asks_for_more_than_it_reads_has_no_hits() -> None:
    assert Row("", Result(1, 100, 1.0, 0), Asked(1, 110)).hit_ratio == 0.0


def test_a_row_tells_speed_files_hits_and_what_was_asked() -> None:
    assert cells(WARM) == ["2 from the store", "20", "20", "75%", "0", "2", "0"]


def test_saved_is_against_as_many_passes_straight_from_the_origin() -> None:
    assert saved(BEFORE, [COLD, WARM]) == "Saved over 2 epochs: 8 requests to the origin, 8 MB from it, 4 s of waiting."


def test_no_time_is_said_to_be_saved_where_none_was() -> None:
    fast = Row(STRAIGHT, Result(10, 10_000_000, 0.1, 0), Asked(10, 10_000_000))
    assert saved(fast, [COLD]).endswith(", 0 MB from it.")
