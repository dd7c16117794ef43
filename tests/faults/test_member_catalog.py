"""A member process whose catalog is damaged on disk: it starts, says so, serves nothing wrong, and the next sync heals it."""

import pathlib

import pytest
from tests.cache.main.conftest import NAMES, one, store
from tests.rigs.bucket import Bucket
from tests.rigs.house import Member, dataset_of, same

__all__ = ["one", "store"]


@pytest.mark.parametrize("folder", ["commits", "leaves", "parts", "images", "devices"])
def test_damage_is_told_and_healed_by_the_next_sync(one: Member, store: Bucket, folder: str) -> None:
    one.start()
    dataset = dataset_of(store, "open", anonymous=True)
    one.serve(dataset)
    first = one.sync(dataset)
    assert first.commit
    one.stop()
    for path in files(one, folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    one.start()
    answers = [one.get(f"/open/{name}") for name in NAMES]
    for answer, name in zip(answers, NAMES, strict=True):
        assert same(answer.body, name) if answer.status == 200 else answer.status == 503
    for _ in range(2):  # what nobody asked for is found by the first
        report = one.sync(one.state.datasets[0])
        assert report.state == "Succeeded", report
        answers = [one.get(f"/open/{name}") for name in NAMES]
        if all(answer.status == 200 for answer in answers):
            break
    assert all(same(answer.body, name) for answer, name in zip(answers, NAMES, strict=True))
    damaged = [record for record in one.told() if record["event"] == "catalog file damaged, set aside"]
    assert len({record["file"] for record in damaged}) == len(damaged) >= 1
    head = one.report()["datasets"][0]["head"]
    assert head == one.state.datasets[0].head


def files(one: Member, folder: str) -> list[pathlib.Path]:
    found = [path for path in (one.catalog / folder).rglob("*") if path.is_file()]
    assert found
    return found
