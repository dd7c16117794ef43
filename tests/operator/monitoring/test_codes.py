from pathlib import Path

from forebay_operator.monitoring.codes import CODES, STAGES, page, reason

PAGE = Path(__file__).parents[3] / "docs/monitoring/codes.md"


def test_every_code_has_a_reason_and_says_why() -> None:
    for name, code in CODES.items():
        assert name[3] in STAGES
        assert reason(name).endswith(("Failed", "Tripped"))
        assert code.title
        assert code.why.endswith(".")
        assert code.bad, f"{name} has no example"
        assert code.good, f"{name} does not say what to write"


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m forebay_operator.monitoring.codes > docs/monitoring/codes.md"
