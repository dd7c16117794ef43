"""Starts nginx, varnish, wrk and fio with the configurations of bench/conf."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

from bench.harness import Cpu, Sample

CONF = pathlib.Path(__file__).parents[1] / "conf"
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = ["taskset", "-c", str(_CORES[0])]
"""Servers on one core and the client on another, each side alike: else the scheduler decides whether they share one."""
CLIENT_CORE = ["taskset", "-c", str(_CORES[-1])]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], port: int, **options: object) -> Iterator[int]:
    """Starts a server, waits until it listens, yields its process id; stops it at the end."""
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        wait_until_listening(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not listen on port {port}")


@contextlib.contextmanager
def nginx(folder: pathlib.Path, root: pathlib.Path, port: int) -> Iterator[list[int]]:
    """Yields the ids of its worker."""
    conf = (CONF / "nginx.conf").read_text().replace("PORT", str(port)).replace("ROOT", str(root))
    (folder / "nginx.conf").write_text(conf)
    command = [
        *SERVER_CORE,
        "nginx",
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
        "-e",
        str(folder / "nginx.log"),
    ]
    with running(command, port) as pid:
        yield children(pid)


@contextlib.contextmanager
def varnish(folder: pathlib.Path, backend: int, port: int) -> Iterator[list[int]]:
    """Yields the id of its worker process; it has many threads."""
    (folder / "varnish.vcl").write_text((CONF / "varnish.vcl").read_text().replace("PORT", str(backend)))
    command = [
        *SERVER_CORE,
        "varnishd",
        "-F",
        "-j",
        "none",
        "-n",
        str(folder / "varnish"),
        "-f",
        str(folder / "varnish.vcl"),
    ]
    command += ["-a", f"127.0.0.1:{port}", "-s", "malloc,2g", "-p", "thread_pools=1"]
    with running(command, port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pid:
        yield children(pid)


def children(pid: int) -> list[int]:
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def wrk(
    port: int, requests: pathlib.Path, connections: int, seconds: int, pids: Sequence[int], core: Sequence[str]
) -> Sample:
    """Requests a second, with latencies and CPU beside. An answer other than 2xx or a broken connection ends the bench."""
    command = [*core, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(CONF / "replay.lua")]
    cpu = Cpu(pids)
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}", "--", str(requests)], check=True, capture_output=True, text=True
    )
    used, busy, out = cpu.processes_s(), cpu.machine_s(), done.stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"wrk met errors:\n{out}")
    count = int(_found(r"(\d+) requests in", out))
    shown = {
        "server cpu us/request": used / count * 1e6,
        "machine cpu us/request": busy / count * 1e6,
        "p50 ms": milliseconds(_found(r"(?m)^ +50% +(\S+)", out)),
        "p99 ms": milliseconds(_found(r"(?m)^ +99% +(\S+)", out)),
        "requests": count,
    }
    return Sample(float(_found(r"Requests/sec:\s+(\S+)", out)), shown)


def fio_random_reads(file: pathlib.Path, size: int, block: int, jobs: int) -> Sample:
    """Reads a second: every block of the file once, in random order, buffered, its pages dropped before."""
    share = size // jobs // block * block
    command = [
        "fio",
        "--name=read",
        f"--filename={file}",
        "--rw=randread",
        "--ioengine=psync",
        "--thread",
        "--invalidate=1",
    ]
    command += [
        f"--bs={block}",
        f"--numjobs={jobs}",
        f"--size={share}",
        f"--offset_increment={share}",
        "--group_reporting",
    ]
    cpu = Cpu()
    done = subprocess.run([*command, "--output-format=json"], check=True, capture_output=True, text=True)
    read = json.loads(done.stdout)["jobs"][0]["read"]
    shown = {"machine cpu us/request": cpu.machine_s() / read["total_ios"] * 1e6, "MB/s": read["bw_bytes"] / 1e6}
    shown["p50 ms"] = read["clat_ns"]["percentile"]["50.000000"] / 1e6
    return Sample(float(read["iops"]), shown)


def milliseconds(text: str) -> float:
    """wrk's `187.00us`, `1.64ms`, `2.01s`."""
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise SystemExit(f"wrk gave the time {text!r}")
    number, unit = found.groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk printed no {pattern!r}:\n{text}")
    return match[1]
