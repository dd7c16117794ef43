from forebay_operator.monitoring.render.document import read
from forebay_operator.monitoring.render.standards import Standards, merged, read_part


def test_merging_goes_by_name_and_keeps_what_is_below() -> None:
    both = merged(read("a: {x: 1, y: 2}\nb: 3", "f"), read("\na: {x: 9}", "g"))
    assert both.plain() == {"a": {"x": 9, "y": 2}, "b": 3}
    assert both.at("a", "x").place == ("g", 2)
    assert both.at("b").place == ("f", 2)


def test_nothing_over_something_changes_nothing() -> None:
    below = read("a: 1", "f")
    assert merged(below, read("", "g")) is below


def test_names_are_those_of_the_yaml() -> None:
    standards = read_part(Standards, read("slo: {readShare: 0.5}\nrouting: {groupWait: 1m}", "f"))
    assert (standards.slo.read_share, standards.routing.group_wait) == (0.5, "1m")
