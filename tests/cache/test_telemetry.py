import io
import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from forebay_cache import telemetry
from forebay_cache.contract import metrics
from forebay_cache.telemetry import Telemetry


def samples(shown: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(shown.exposition().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_a_shown_metric_is_read_at_each_scrape() -> None:
    shown, used = Telemetry(), {(): 1.0}
    shown.show(metrics.STORE_USED, lambda: used)
    assert samples(shown)["forebay_store_used_bytes", ()] == 1.0
    used[()] = 2.0
    assert samples(shown)["forebay_store_used_bytes", ()] == 2.0


def test_a_counter_keeps_its_name_and_labels() -> None:
    shown = Telemetry()
    requests = shown.count(metrics.S3_REQUESTS)
    requests.add(1, "GetObject", "200")
    requests.add(2, "GetObject", "200")
    assert samples(shown) == {("forebay_s3_requests_total", (("operation", "GetObject"), ("status", "200"))): 3.0}


def test_a_histogram_is_cumulative() -> None:
    shown = Telemetry()
    timed = shown.time(metrics.S3_SECONDS).of("GetObject")
    for value in (0.0001, 0.0002, 100.0):
        timed.observe(value)
    found = samples(shown)
    assert found["forebay_s3_request_seconds_bucket", (("le", "0.0001"), ("operation", "GetObject"))] == 1
    assert found["forebay_s3_request_seconds_bucket", (("le", "0.00025"), ("operation", "GetObject"))] == 2
    assert found["forebay_s3_request_seconds_bucket", (("le", "+Inf"), ("operation", "GetObject"))] == 3
    assert found["forebay_s3_request_seconds_sum", (("operation", "GetObject"),)] == pytest.approx(100.0003)


def test_two_processes_share_nothing() -> None:
    first, second = Telemetry(), Telemetry()
    first.count(metrics.SYNCS).add(1, "Succeeded")
    assert samples(second) == {}


def test_every_metric_of_the_table_can_be_shown() -> None:
    shown = Telemetry()
    for metric in metrics.METRICS:
        if metric.kind == "histogram":
            shown.time(metric).of(*metric.labels).observe(0.5)
        else:
            shown.count(metric).add(1, *metric.labels)
    names = {name for name, _ in samples(shown)}
    assert {m.name for m in metrics.METRICS if m.kind != "histogram"} <= names


def record(**extra: object) -> logging.LogRecord:
    made = logging.getLogger("forebay.test").makeRecord(
        "forebay.test", logging.WARNING, __file__, 1, "cut short", (), None, extra=extra
    )
    made.created, made.msecs = 0.0, 7.0
    return made


def test_json_is_one_object_a_line() -> None:
    line = telemetry.JsonFormatter().format(record(bucket="b", key="a\nb", bytes=3))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.007Z",
        "level": "warning",
        "logger": "forebay.test",
        "event": "cut short",
        "bucket": "b",
        "key": "a\nb",
        "bytes": 3,
    }


def test_text_is_key_value_and_one_line() -> None:
    line = telemetry.TextFormatter().format(record(bucket="b", key="a b\nc"))
    assert line.endswith('warning forebay.test: cut short bucket=b key="a b\\\\nc"')
    assert "\n" not in line


@pytest.mark.parametrize("formatter", [telemetry.JsonFormatter(), telemetry.TextFormatter()])
def test_secrets_are_never_shown(formatter: logging.Formatter) -> None:
    line = formatter.format(record(secret_access_key="hunter2", given=SecretStr("hunter2"), Authorization="hunter2"))
    assert "hunter2" not in line


def test_configured_logging_writes_to_its_stream_alone() -> None:
    root, out = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    try:
        telemetry.configure_logging("json", out)
        logging.getLogger("forebay.x").info("started", extra={"port": 1})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert json.loads(out.getvalue())["port"] == 1
