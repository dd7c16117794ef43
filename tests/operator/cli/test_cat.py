from tests.cache.serve.conftest import Running
from tests.operator.cli.conftest import Desk


async def test_bytes_come_out_as_they_are(desk: Desk, running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    done = await desk.run("cat", "photos", "a.txt", "a//b")
    assert (done.code, done.out) == (0, "hellotwo slashes")
    assert (await desk.run("cat", "photos", "absent")).code == 3
