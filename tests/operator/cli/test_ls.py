import json

from tests.cache.serve.conftest import Running
from tests.operator.cli.conftest import Desk

from forebay_operator.cli.ls import printable


async def test_a_level_is_listed(desk: Desk, running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    done = await desk.run("ls", "photos")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[-1] for line in done.out.splitlines()] == [
        "a.txt",
        "a/",
        "big.bin",
        "dir/",
        "empty",
        "ace+pl%us/",
    ]


async def test_json_lists_every_file(desk: Desk, running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    shown = json.loads((await desk.run("ls", "photos", "-r", "-o", "json")).out)
    assert {entry["key"]: entry["size"] for entry in shown} == {k.decode(): len(v) for k, v in objects.items()}
    assert json.loads((await desk.run("ls", "photos", "none/", "-o", "json")).out) == []


async def test_nothing_below_a_prefix_is_not_found(desk: Desk, running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    assert (await desk.run("ls", "photos", "none/")).code == 3


def test_a_key_cannot_speak_to_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nü\udcff") == "a\\x1b[2Jb\\nü\\udcff"
