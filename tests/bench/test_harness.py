"""The rules by which a bench is judged."""

import json
import pathlib

import pytest
from bench import harness
from bench.harness import Measure, Sample, Verdict, interval, judge, rounds, run


def measure(goal: float | None = 1.0, **more: object) -> Measure:
    return Measure("m", "x/s", lambda: Sample(1), lambda: Sample(1), goal=goal, **more)  # type: ignore[arg-type]


def taken(*ratios: float) -> harness.Rounds:
    return [{"forebay": Sample(ratio * 50), "rival": Sample(50)} for ratio in ratios]


def test_nine_rounds_are_bounded_by_the_second_and_the_eighth() -> None:
    assert interval(range(1, 10)) == (2, 8)


def test_many_rounds_are_bounded_more_tightly() -> None:
    assert interval(range(1, 22)) == (7, 15)


def test_the_median_that_reaches_the_goal_passes() -> None:
    assert judge(measure(), taken(*[0.5] * 4, *[1.0] * 5)).word == "PASS"


def test_only_the_interval_reaching_the_goal_is_noisy() -> None:
    assert judge(measure(), taken(*[0.95] * 7, 1.0, 1.0)).word == "NOISY"


def test_an_interval_as_wide_as_fifteen_percent_is_short() -> None:
    assert judge(measure(), taken(0.8, 0.8, *[0.95] * 5, 1.0, 1.0)).word == "SHORT"


def test_an_interval_below_the_goal_is_short() -> None:
    assert judge(measure(), taken(*[0.99] * 9)).word == "SHORT"


def test_where_less_is_better_the_ratio_is_turned() -> None:
    assert judge(measure(better="less"), taken(*[0.5] * 9)).ratio == 2.0


def test_a_side_that_measured_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        judge(measure(), taken(*[0.0] * 9))


def test_the_verdict_is_one_line() -> None:
    line = "serve.100k ratio 1.04 [0.98, 1.10] goal >= 1.00 PASS"
    assert str(Verdict("serve.100k", 1.04, 0.98, 1.10, 1.0, "PASS")) == line


def test_a_ratio_never_looks_better_than_it_is() -> None:
    assert str(Verdict("m", 0.999, 0.99, 0.999, 1.0, "SHORT")) == "m ratio 0.99 [0.99, 0.99] goal >= 1.00 SHORT"


def test_fewer_than_nine_rounds_are_refused() -> None:
    with pytest.raises(SystemExit):
        rounds(["--rounds", "8"])
    assert (rounds([]), rounds(["--rounds", "11"])) == (9, 11)


@pytest.fixture
def results(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    return tmp_path


def test_the_order_alternates_and_warm_ups_do_not_count(results: pathlib.Path) -> None:
    order: list[str] = []

    def side(name: str, value: float) -> harness.Side:
        def sample() -> Sample:
            order.append(name)
            return Sample(value, {"cpu us": 1.5})

        return sample

    status = run("t", [Measure("t.m", "x/s", side("a", 2), side("b", 1), goal=1.5, beside={"c": side("c", 3)})])
    assert status == 0
    assert "".join(order[:12]) == "cba" + "abc" + "cba" + "abc"
    document = json.loads((results / "t.json").read_text())
    assert len(document["measures"][0]["samples"]) == document["rounds"] == 9
    assert document["machine"]["cores"] > 0


def test_a_short_measure_is_a_failure(results: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("t", [measure(goal=1.01)], warmups=0) == 1
    assert "m ratio 1.00 [1.00, 1.00] goal >= 1.01 SHORT" in capsys.readouterr().out
