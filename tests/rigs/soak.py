"""A house under everything that goes wrong at once: a member that is killed, stopped and restarted, a disk that fills, bits that
flip, an origin that errs, lies and slows down, while several processes read and verify. Seeded: a seed gives the same faults
in the same order."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from tests.rigs.bucket import Bucket, refused
from tests.rigs.house import CLUSTER, LARGE, Member, content, dataset_of, environment, same, wait_until
from tests.rigs.scripted import Reply, Request
from tests.rigs.soakreader import Task

from forebay_cache.contract.agent import AgentConfig, MountRequest
from forebay_cache.mount.support import missing_part

DISK = 100 << 20
CAPACITY = 48 << 20
LATE_S = 75.0
"""A member gives bytes or an error within its 60 s, and is stopped for two at most."""
MOUNT_LATE_S = 30.0
"""A READ of the disk of a mount is answered in 10 s, and one read() may be two of them; the machine is busy."""
FILES = {
    **{f"small/{n % 7}/{n:03d}": 20_000 + 613 * n for n in range(200)},
    **{f"large/{n}": LARGE + 4096 * n for n in range(8)},
    "middle/one": 3 << 20,
}
"""Some 95 MB: twice what the store holds, so that chunks come and go."""
FAULTS = 16


@dataclass
class Scene:
    """`disk`: the folder of the store as this process sees it; None where none could be mounted."""

    member: Member
    bucket: Bucket
    enter: list[str]
    disk: pathlib.Path | None
    boots: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def store(self) -> pathlib.Path:
        return self.disk / "store" if self.disk else self.member.store

    def start(self) -> None:
        self.member.start(self.enter)

    def began(self) -> None:
        dataset = dataset_of(self.bucket, "soak", anonymous=True)
        self.member.serve(dataset)
        assert self.member.sync(dataset).state == "Succeeded"


# what goes wrong with the member; each leaves it serving


def killed(scene: Scene, _: random.Random) -> None:
    scene.member.stop(signal.SIGKILL)
    scene.start()


def restarted(scene: Scene, _: random.Random) -> None:
    assert scene.member.stop() == 0
    scene.start()


def stopped(scene: Scene, rng: random.Random) -> None:
    os.kill(scene.member.pid, signal.SIGSTOP)
    try:
        time.sleep(rng.uniform(0.1, 2))
    finally:
        os.kill(scene.member.pid, signal.SIGCONT)


def rebooted(scene: Scene, rng: random.Random) -> None:
    """The machine came back with another boot, and bits of its disk have flipped meanwhile."""
    scene.member.stop(signal.SIGKILL)
    chunks = sorted(path for path in (scene.store / "chunks").rglob("*-*") if path.suffix != ".partial")
    for path in rng.sample(chunks, min(3, len(chunks))):
        flipped(path, rng)
    identity = scene.store / "identity.json"
    scene.boots += 1
    identity.write_text(json.dumps({**json.loads(identity.read_text()), "boot_id": f"an earlier one {scene.boots}"}))
    scene.start()


def flipped(path: pathlib.Path, rng: random.Random) -> None:
    """In another file of that name: who has the old one open is of the boot before, and would not have outlived it."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    aside = path.parents[3] / "aside"
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except OSError:  # the small disk has no room for it
        aside.unlink()


def filled(scene: Scene, rng: random.Random) -> None:
    """Somebody else takes all of the disk for a moment."""
    if scene.disk is None:
        return
    hog = scene.disk / "others"
    with open(hog, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    time.sleep(rng.uniform(0.2, 1.5))
    hog.unlink()


OF_MEMBER: tuple[Callable[[Scene, random.Random], None], ...] = (killed, restarted, stopped, rebooted, filled)

# what goes wrong with the origin, for a while


def longer(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.body + b"more", reply.headers)


def other_bytes(_: Request, reply: Reply) -> Reply:
    """Somebody overwrote it: right in every way, but not the object that was listed."""
    return Reply(reply.status, bytes(len(reply.body)), {**reply.headers, "ETag": '"0123456789abcdef0123456789abcdef"'})


def cut(request: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.body, reply.headers, len(reply.body) // 2 if request.method == "GET" else None)


def slow(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.body, reply.headers, drip_s=0.1)


OF_ORIGIN = {
    "errs": refused(503, "SlowDown"),
    "fails": refused(500, "InternalError"),
    "longer": longer,
    "other bytes": other_bytes,
    "cut": cut,
    "slow": slow,
    "down": None,
}


def origin_fault(scene: Scene, name: str, hold_s: float) -> None:
    fault = OF_ORIGIN[name]
    if fault is None:
        scene.bucket.close()
    scene.bucket.breaks_all = fault
    time.sleep(hold_s)
    scene.bucket.breaks_all = None
    if fault is None:
        scene.bucket.open()


# the readers


class Readers:
    """Processes that read, one of them below `folder` if there is one; `told` is the newest of each."""

    def __init__(self, scene: Scene, count: int, seed: int, folder: str) -> None:
        self._told: list[dict[str, object]] = [{} for _ in range(count)]
        folders = [folder, *[""] * (count - 1)]
        self._processes = [self._start(scene, f"{seed}/{number}", below) for number, below in enumerate(folders)]
        self._threads = [threading.Thread(target=self._follow, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _start(self, scene: Scene, seed: str, folder: str) -> subprocess.Popen[str]:
        late_s = MOUNT_LATE_S if folder else LATE_S
        task = Task(scene.member.config.data_port, "soak", folder, FILES, seed, late_s)
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.rigs.soakreader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(scene.member.root),
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps(asdict(task)) + "\n")
        process.stdin.flush()
        return process

    def _follow(self, number: int) -> None:
        stream = self._processes[number].stdout
        assert stream
        for line in stream:
            self._told[number] = json.loads(line)

    @property
    def counts(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for told in self._told:
            found.update(told.get("counts", {}))  # type: ignore[call-overload]
        return found

    @property
    def wrong(self) -> list[str]:
        return [one for told in self._told for one in told.get("wrong", ())]  # type: ignore[attr-defined]

    @property
    def longest_s(self) -> float:
        return max(float(told.get("longest_s", 0.0)) for told in self._told)  # type: ignore[arg-type]

    def alive(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def end(self) -> None:
        for process in self._processes:
            assert process.stdin
            process.stdin.close()
        try:
            for process in self._processes:
                process.wait(2 * LATE_S)
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            for thread in self._threads:
                thread.join()
            for process in self._processes:
                assert process.stdout
                process.stdout.close()


# the mount


@contextlib.contextmanager
def mounted(scene: Scene) -> Iterator[str]:
    """The Dataset as a folder, by an agent of its own; "" where this machine cannot mount."""
    if why := missing_part():
        print(f"soak: no reader of a mount: {why}")
        yield ""
        return
    root, target = scene.member.root, str(scene.member.root / "mounted")
    config = AgentConfig(socket=f"{root}/agent.sock", state_path=f"{root}/agent", workers=2)
    (root / "agent.json").write_text(config.model_dump_json())
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "forebay_cache.main", "agent"]
    with open(root / "agent.log", "wb") as log:
        agent = subprocess.Popen(
            [*command, "--config", "/agent.json"], stdout=log, stderr=log, env=environment(root), cwd=root
        )
    try:
        wait_until(
            lambda: agent.poll() is not None or _asked(config.socket, "GET", "/readyz", None), "the agent answers"
        )
        dataset = scene.member.state.datasets[0]
        request = MountRequest(
            cluster_uid=CLUSTER,
            dataset_uid=dataset.uid,
            commit=dataset.head or "",
            target=target,
            member_socket=str(scene.member.inside(scene.member.config.node_socket or "")),
        )
        assert _asked(config.socket, "POST", "/v1/mounts", request.model_dump_json()), (root / "agent.log").read_text()
        yield target
    finally:
        agent.terminate()
        assert agent.wait(60) == 0, (root / "agent.log").read_text()
        assert not os.path.ismount(target)


def _asked(path: str, method: str, target: str, body: str | None) -> bool:
    line = http.client.HTTPConnection("agent", timeout=60)
    with contextlib.closing(line), contextlib.closing(socket.socket(socket.AF_UNIX)) as line.sock:
        try:
            line.sock.connect(path)
        except OSError:
            return False
        line.request(method, target, body, {"content-type": "application/json"})
        return line.getresponse().status < 300


# all of it


@contextlib.contextmanager
def scene(root: pathlib.Path, bucket: Bucket) -> Iterator[Scene]:
    """A started member that has synced, its store on a small disk of its own where this machine can mount one."""
    bucket.objects = {name: content(name, size) for name, size in FILES.items()}
    made = Member(root, capacity_bytes=CAPACITY)
    data = made.store.parent
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c",
         f"mount -t tmpfs -o size={DISK} none {data} && echo mounted && exec sleep infinity"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert holder.stdout
        mounted = holder.stdout.readline() == b"mounted\n"
        enter = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"] if mounted else []
        disk = pathlib.Path(f"/proc/{holder.pid}/root{data}") if mounted else None
        found = Scene(made, bucket, enter, disk)
        found.start()
        found.began()
        yield found
    finally:
        made.end()
        holder.kill()
        holder.wait()
        assert holder.stdout
        holder.stdout.close()


def soak(scene: Scene, readers: Readers, reads: int, seed: int) -> None:
    """Faults until so many reads were right, FAULTS at least. The origin's have a thread of their own: both kinds meet."""
    ended = threading.Event()

    def origin() -> None:
        rng = random.Random(f"{seed}/origin")
        while not ended.wait(rng.uniform(0.3, 1.5)):
            name = rng.choice(sorted(OF_ORIGIN))
            scene.faults[f"origin {name}"] += 1
            origin_fault(scene, name, rng.uniform(0.2, 2))

    thread = threading.Thread(target=origin)
    thread.start()
    rng = random.Random(f"{seed}/member")
    said = time.monotonic()
    try:
        while readers.counts["right"] < reads or scene.faults.total() < FAULTS:
            assert readers.alive(), "a reader died"
            assert not readers.wrong, readers.wrong
            fault = rng.choice(OF_MEMBER)
            scene.faults[fault.__name__] += 1
            fault(scene, rng)
            time.sleep(rng.uniform(0.2, 2))
            if time.monotonic() - said > 30:
                said = time.monotonic()
                print(
                    f"soak: {readers.counts['right']:,} of {reads:,} reads right, {scene.faults.total()} faults",
                    flush=True,
                )
    finally:
        ended.set()
        thread.join()


def anonymous_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def all_right(scene: Scene) -> None:
    """Once nothing is wrong any more, every file is whole; what was noted as gone is asked for again after a moment."""
    for name, size in FILES.items():

        def whole(name: str = name, size: int = size) -> bool:
            found = scene.member.get(f"/soak/{name}")
            return found.status == 200 and same(found.body, name, size)

        wait_until(whole, f"{name} is whole again")
