"""S3 GETs: hits in page cache against nginx, signed hits, hits out of page cache against fio.

One worker process of Forebay, from its real parts (bench/servers/forebay.py), holds the same files as nginx (bench/conf says
how each is configured, and why), in chunks of its own store. Both are pinned to one core and wrk to another. Before anything
is measured every byte of every server is compared with the files.

  --only NAME   one measure: 100k, 4m, signed, cold     --seconds S   a run (default 2)     --rounds N   (default 9)

100k    100 KiB objects, 16 connections, anonymous          goal 1.0 of nginx
4m      4 MiB objects, 8 connections, anonymous             goal 1.0 of nginx
signed  100 KiB objects, 16 connections, every request signed differently; nginx gets the same requests   goal 0.85
cold    100 KiB objects, 64 connections, each asked for once, pages dropped before; nothing is pinned
        goal 0.8 of fio: 64 threads, buffered random reads of that size on the same disk, pages dropped before

wrk is single-threaded and needs some 24 us for 100 KiB on loopback, so where a server needs less, the rate is the client's:
the CPU beside it tells the servers apart.
"""

import contextlib
import hashlib
import http.client
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.harness import Measure, Sample, rounds, run
from bench.servers import KEY, SECRET, rivals
from forebay_cache.model.sigv4 import Signer

SMALL, LARGE = 100 << 10, 4 << 20
SMALL_COUNT, LARGE_COUNT, COLD_COUNT = 256, 32, 30_000
SIGNED_COUNT = 150_000
COLD_CONNECTIONS = 64
SEED = 20260101


def main(arguments: list[str]) -> int:
    only = _option(arguments, "--only", "")
    seconds = int(_option(arguments, "--seconds", "2"))
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(work_folder())
        measures: list[Measure] = []
        if only != "cold":
            measures += hot_measures(work / "hot", seconds, stack)
        if only in ("", "cold"):
            measures.append(cold_measure(work / "cold", seconds, stack))
        chosen = [measure for measure in measures if not only or measure.name == f"serve.{only}"]
        return run("serve", chosen, rounds(arguments))


@contextlib.contextmanager
def work_folder() -> Iterator[pathlib.Path]:
    """On the disk that $FOREBAY_BENCH_DIR names, else /var/tmp: never a tmpfs, which has no cold pages."""
    folder = pathlib.Path(
        tempfile.mkdtemp(prefix="forebay-bench-", dir=os.environ.get("FOREBAY_BENCH_DIR", "/var/tmp"))
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pids: Sequence[int]


def hot_measures(folder: pathlib.Path, seconds: int, stack: contextlib.ExitStack) -> list[Measure]:
    names = write_objects(folder / "origin", {"small": (SMALL_COUNT, SMALL), "large": (LARGE_COUNT, LARGE)})
    (folder / "nginx").mkdir()
    for bucket in ("open", "closed"):
        (folder / "nginx" / bucket).symlink_to("../origin")
    ours = start_forebay(folder, stack, rivals.SERVER_CORE)
    port = rivals.free_port()
    nginx = Server(port, stack.enter_context(rivals.nginx(folder, folder / "nginx", port)))
    port = rivals.free_port()
    varnish = Server(port, stack.enter_context(rivals.varnish(folder, nginx.port, port)))
    for server in (ours, nginx, varnish):
        for _ in range(3):
            compare(server, "open", folder / "origin", names)
    small, large = (
        plain_requests(folder, kind, [n for n in names if n.startswith(kind)]) for kind in ("small", "large")
    )
    signed = signed_requests(folder, ours.port, [n for n in names if n.startswith("small")])

    def side(server: Server, requests: pathlib.Path, connections: int) -> Callable[[], Sample]:
        return lambda: rivals.wrk(server.port, requests, connections, seconds, server.pids, rivals.CLIENT_CORE)

    def measure(name: str, requests: pathlib.Path, connections: int, goal: float, *, beside: bool) -> Measure:
        sides = {"varnish": side(varnish, requests, connections)} if beside else {}
        pair = side(ours, requests, connections), side(nginx, requests, connections)
        return Measure(f"serve.{name}", "requests/s", *pair, goal=goal, beside=sides, rival_name="nginx")

    return [
        measure("100k", small, 16, 1.0, beside=True),
        measure("4m", large, 8, 1.0, beside=True),
        measure("signed", signed, 16, 0.85, beside=False),
    ]


def cold_measure(folder: pathlib.Path, seconds: int, stack: contextlib.ExitStack) -> Measure:
    names = write_objects(folder / "origin", {"cold": (COLD_COUNT, SMALL)})
    ours = start_forebay(folder, stack, ())
    compare(ours, "open", folder / "origin", names)
    shutil.rmtree(folder / "origin")  # from here on the store alone has the bytes
    file = folder / "fio"
    size = COLD_COUNT * SMALL
    with open(file, "wb") as out:
        out.writelines(random.Random(number).randbytes(SMALL * 100) for number in range(COLD_COUNT // 100))
    os.sync()
    generator = random.Random(SEED)

    def forebay() -> Sample:
        generator.shuffle(names)
        requests = plain_requests(folder, "cold", names)
        drop_pages(folder / "store")
        sample = rivals.wrk(ours.port, requests, COLD_CONNECTIONS, seconds, ours.pids, ())
        if sample.shown["requests"] > len(names):
            raise SystemExit("cold: the objects were asked for more than once; take fewer --seconds")
        return sample

    fio = lambda: rivals.fio_random_reads(file, size, SMALL, COLD_CONNECTIONS)  # noqa: E731  a side, as the others
    return Measure("serve.cold", "requests/s", forebay, fio, goal=0.8, rival_name="fio")


def start_forebay(folder: pathlib.Path, stack: contextlib.ExitStack, core: Sequence[str]) -> Server:
    (folder / "store").mkdir(exist_ok=True)
    port = rivals.free_port()
    command = [*core, sys.executable, "-m", "bench.servers.forebay", str(folder), str(port)]
    return Server(port, [stack.enter_context(rivals.running(command, port, stdout=subprocess.DEVNULL))])


def write_objects(folder: pathlib.Path, kinds: dict[str, tuple[int, int]]) -> list[str]:
    """Random bytes, the same in every run. -> names"""
    folder.mkdir(parents=True)
    generator, names = random.Random(SEED), []
    for kind, (count, size) in kinds.items():
        for number in range(count):
            names.append(f"{kind}-{number:05}.bin")
            (folder / names[-1]).write_bytes(generator.randbytes(size))
    return names


def compare(server: Server, bucket: str, origin: pathlib.Path, names: Sequence[str]) -> None:
    """Every byte as it is in the files; also fills and warms the server."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for name in names:
        connection.request("GET", f"/{bucket}/{name}")
        body = connection.getresponse().read()
        if hashlib.sha256(body).digest() != hashlib.sha256((origin / name).read_bytes()).digest():
            raise SystemExit(f"port {server.port} gives other bytes for {name}")
    connection.close()


def plain_requests(folder: pathlib.Path, kind: str, names: Sequence[str]) -> pathlib.Path:
    path = folder / f"requests-{kind}"
    path.write_bytes(b"".join(f"GET /open/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n\0".encode() for name in names))
    return path


def signed_requests(folder: pathlib.Path, port: int, names: Sequence[str]) -> pathlib.Path:
    """No two alike: each has another pair of object and time, within the 15 minutes a clock may differ."""
    signer, host, now = Signer(KEY, SECRET), f"127.0.0.1:{port}", int(time.time())
    path = folder / "requests-signed"
    with open(path, "wb") as out:
        for number in range(SIGNED_COUNT):
            name = names[number % len(names)]
            headers = signer.sign("GET", host, f"/closed/{name}", "", now + number // len(names) - 60)
            lines = "".join(f"{field}: {value}\r\n" for field, value in headers.items())
            out.write(f"GET /closed/{name} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\0".encode())
    return path


def drop_pages(folder: pathlib.Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fdatasync(fd)  # dirty pages would stay
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def _option(arguments: Sequence[str], name: str, default: str) -> str:
    return arguments[arguments.index(name) + 1] if name in arguments else default
