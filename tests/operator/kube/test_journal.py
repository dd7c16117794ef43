"""The journal keeps what was accepted, through kills, torn lines and full disks."""

import errno
import os
import pathlib
import random
import subprocess
import sys

import pytest
from tests.rigs import objects

from forebay_operator.kube import journal
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CONFIG_MAP, KubeError, KubeExpired, KubeNotFound, KubeUnavailable, key_of


def test_an_empty_folder_holds_nothing(tmp_path: pathlib.Path) -> None:
    kept = journal.open_journal(tmp_path / "state")
    assert kept.load() == (0, [])
    kept.close()


async def test_objects_and_versions_survive(tmp_path: pathlib.Path) -> None:
    kept = journal.open_journal(tmp_path)
    kube = MemoryKube(durable=kept)
    stays = await kube.apply(objects.config_map("n", "stays", a="1"), manager="us")
    goes = await kube.apply(objects.config_map("n", "goes", a="1"), manager="us")
    stays = await kube.apply(objects.config_map("n", "stays", a="2"), manager="us")
    await kube.delete(key_of(goes))
    kept.close()

    kept = journal.open_journal(tmp_path)
    again = MemoryKube(durable=kept)
    assert await again.get(key_of(stays)) == stays
    with pytest.raises(KubeNotFound):
        await again.get(key_of(goes))
    same = await again.apply(objects.config_map("n", "stays", a="2"), manager="us")
    assert same == stays
    newer = await again.apply(objects.config_map("n", "goes"), manager="us")
    assert int(newer["metadata"]["resourceVersion"]) == 5
    kept.close()


async def test_a_watch_from_before_the_start_has_expired(tmp_path: pathlib.Path) -> None:
    kept = journal.open_journal(tmp_path)
    first = await MemoryKube(durable=kept).apply(objects.config_map("n"), manager="us")
    await MemoryKube(durable=kept).apply(objects.config_map("n", "other"), manager="us")
    kept.close()
    kept = journal.open_journal(tmp_path)
    with pytest.raises(KubeExpired):
        await anext(
            aiter(MemoryKube(durable=kept).watch(CONFIG_MAP, str(int(first["metadata"]["resourceVersion"]) - 1)))
        )
    kept.close()


async def test_every_torn_end_is_the_state_before_it(tmp_path: pathlib.Path) -> None:
    kept = journal.open_journal(tmp_path)
    kube = MemoryKube(durable=kept)
    for number in range(3):
        await kube.apply(objects.config_map("n", a=str(number)), manager="us")
    kept.close()
    whole = (tmp_path / journal.FILE).read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        (tmp_path / journal.FILE).write_bytes(whole[:end])
        torn = journal.open_journal(tmp_path)
        version, (kept_object,) = torn.load()
        assert (version, kept_object["data"]) == (2, {"a": "1"})
        torn.close()


def test_a_damaged_line_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / journal.FILE).write_text('{"version": 1}\nnonsense\n{"version": 2}\n')
    with pytest.raises(KubeError, match=r"objects\.jsonl:2 is damaged"):
        journal.open_journal(tmp_path)


def test_one_process_at_a_time(tmp_path: pathlib.Path) -> None:
    kept = journal.open_journal(tmp_path)
    with pytest.raises(KubeError, match="in use"):
        journal.open_journal(tmp_path)
    kept.close()
    journal.open_journal(tmp_path).close()


def test_only_the_owner_may_read(tmp_path: pathlib.Path) -> None:
    journal.open_journal(tmp_path / "state").close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / journal.FILE).stat().st_mode & 0o777 == 0o600


async def test_history_is_dropped(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "HISTORY", 10)
    kept = journal.open_journal(tmp_path)
    kube = MemoryKube(durable=kept)
    for number in range(100):
        await kube.apply(objects.config_map("n", a=str(number)), manager="us")
    assert len((tmp_path / journal.FILE).read_bytes().splitlines()) < 30
    kept.close()
    kept = journal.open_journal(tmp_path)
    version, (last,) = kept.load()
    assert (version, last["data"]["a"]) == (100, "99")
    kept.close()


async def test_a_full_disk_accepts_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = journal.open_journal(tmp_path)
    kube = MemoryKube(durable=kept)
    await kube.apply(objects.config_map("n", a="1"), manager="us")
    write = os.write

    def full(file: int, data: bytes) -> int:
        write(file, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", full)
        with pytest.raises(KubeUnavailable, match="No space left"):
            await kube.apply(objects.config_map("n", a="2"), manager="us")
    assert (await kube.get(key_of(objects.config_map("n"))))["data"] == {"a": "1"}
    after = await kube.apply(objects.config_map("n", a="3"), manager="us")
    assert after["metadata"]["resourceVersion"] == "2"
    kept.close()
    kept = journal.open_journal(tmp_path)
    assert kept.load()[1][0]["data"] == {"a": "3"}
    kept.close()


WRITER = """
import asyncio, pathlib, sys
from forebay_operator.kube.journal import open_journal
from forebay_operator.kube.memory import MemoryKube
from tests.rigs import objects

async def main():
    kube = MemoryKube(durable=open_journal(pathlib.Path(sys.argv[1])))
    for number in range(100000):
        await kube.apply(objects.config_map("n", a=str(number)), manager="us")
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: pathlib.Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    count = random.Random(seed).randrange(5, 200)
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        for _ in range(count):
            last = int(writer.stdout.readline())
        writer.kill()
        last = max([last, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    kept = journal.open_journal(tmp_path)
    assert int(kept.load()[1][0]["data"]["a"]) in (last, last + 1)
    kept.close()
