"""The image that tools/image.py writes: the same bytes twice, honest blobs, and every process starts from what it holds,
as the user and on the read-only root of the chart's pods."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tests.rigs.controlplane import ControlPlane, free_ports
from tests.rigs.house import Member

from forebay_operator.desired import workload
from forebay_operator.runtime.container import expand

pytestmark = pytest.mark.timeout(300)
ROOT = pathlib.Path(__file__).parents[2]
TOOL = [sys.executable, str(ROOT / "tools" / "image.py")]
DEADLINE_S = 100
NOBODY = 65532
# what a container runtime would do; the mounts end with their namespace, however that ends
RUN = """
root=$1 user=$2 rights=$3 volumes=$4; shift 4
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/tmp"
for volume in $volumes; do mkdir -p "$root${volume#*:}"; mount --bind "${volume%%:*}" "$root${volume#*:}"; done
mount -o remount,bind,ro "$root"
exec setpriv --bounding-set="$rights" --inh-caps=-all --no-new-privs chroot --userspec="$user:$user" "$root" "$@"
"""
ALL, NONE = "+all", "-all,+sys_chroot,+setuid,+setgid"
"""Capabilities: a privileged container's; none, but for what `chroot` needs before it begins."""


@dataclass(frozen=True, slots=True)
class Image:
    """An archive, and its root directory."""

    root: pathlib.Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        found = dict(one.split("=", 1) for one in self.config["Env"])
        return {**found, "PATH": f"{found['PATH']}:/usr/sbin:/sbin"}  # of this machine, for what starts it

    def argv(
        self, user: int, volumes: Mapping[pathlib.Path, str], command: Sequence[str], rights: str = NONE
    ) -> list[str]:
        """`volumes`: folders of this machine, and where they are inside."""
        bound = " ".join(f"{source}:{target}" for source, target in volumes.items())
        begin = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            RUN,
            "run",
        ]
        return [*begin, str(self.root), str(user), rights, bound, *command]

    @contextlib.contextmanager
    def running(
        self,
        user: int,
        volumes: Mapping[pathlib.Path, str],
        command: Sequence[str],
        rights: str = NONE,
        **environment: str,
    ) -> Iterator[subprocess.Popen[str]]:
        with tempfile.TemporaryFile("w+") as log:
            child = subprocess.Popen(
                self.argv(user, volumes, command, rights),
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                text=True,
            )
            try:
                yield child
            except BaseException:
                log.seek(0)
                print(log.read())
                raise
            finally:
                child.terminate()
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait(10)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if os.geteuid() != 0:
        pytest.skip("starting what is in an image needs root: chroot and a mount namespace")
    with tempfile.TemporaryDirectory(prefix="fb-image-") as folder:
        archive = pathlib.Path(folder, "forebay.tar")
        subprocess.run([*TOOL, "-o", archive], check=True, timeout=DEADLINE_S)
        yield unpacked(archive, pathlib.Path(folder, "root"))


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """With a name short enough for sockets, of whoever is nobody in an image."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        yield pathlib.Path(name)


def unpacked(archive: pathlib.Path, root: pathlib.Path) -> Image:
    """Layers by the manifest of docker's form; every blob is checked."""
    with tarfile.open(archive) as files:
        (manifest,) = json.load(member(files, "manifest.json"))
        for name in files.getnames():
            if name.startswith("blobs/"):
                assert hashlib.file_digest(member(files, name), "sha256").hexdigest() == name.rsplit("/", 1)[1]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=member(files, layer)) as contents:
                contents.extractall(root, filter="tar")
        return Image(root, json.load(member(files, manifest["Config"]))["config"])


def member(files: tarfile.TarFile, name: str) -> Any:
    found = files.extractfile(name)
    assert found is not None
    return found


def wait_until(done: Callable[[], bool], child: subprocess.Popen[str], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert child.poll() is None, f"it ended with {child.returncode} before {what}"
        assert time.monotonic() < end, what
        time.sleep(0.05)


def status(port: int, path: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as line:
        try:
            line.request("GET", path)
            return line.getresponse().status
        except OSError:
            return 0


def test_the_same_inputs_make_the_same_bytes(tmp_path: pathlib.Path) -> None:
    archives = []
    for number in range(2):
        here = tmp_path / f"{number}" / "somewhere"[: 3 + number]
        here.mkdir(parents=True)
        archives.append(here / "node.tar")
        environment = {**os.environ, "TMPDIR": str(here), "PYTHONHASHSEED": str(number)}
        command = [*TOOL, "--role", "node", "-o", str(archives[-1])]
        subprocess.run(command, check=True, cwd=here, env=environment, timeout=DEADLINE_S)
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in archives)
    assert first == second


@pytest.mark.root
def test_the_archive_is_what_its_indexes_say(image: Image) -> None:
    archive = image.root.parent / "forebay.tar"
    with tarfile.open(archive) as files:
        (listed,) = json.load(member(files, "index.json"))["manifests"]
        manifest = json.load(member(files, f"blobs/sha256/{listed['digest'].removeprefix('sha256:')}"))
        config = json.load(member(files, f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}"))
        names = files.getnames()
        assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]  # none is compressed
        assert all(f"blobs/sha256/{one['digest'].removeprefix('sha256:')}" in names for one in manifest["layers"])
        for one in manifest["layers"]:
            with tarfile.open(fileobj=member(files, f"blobs/sha256/{one['digest'].removeprefix('sha256:')}")) as layer:
                entries = layer.getmembers()
            assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, 0)}
            assert not [entry.name for entry in entries if entry.mode & 0o022 and entry.isfile()]
    assert listed["annotations"]["io.containerd.image.name"] == f"docker.io/library/{workload.DEFAULT_IMAGE}"
    assert image.config["User"] == f"{NOBODY}:{NOBODY}"


@pytest.mark.root
def test_nothing_of_this_machine_is_in_it(image: Image) -> None:
    """Compiled files name the places of the image."""
    root = str(ROOT).encode()
    found = [path for path in (image.root / "opt").rglob("*") if path.is_file() and root in path.read_bytes()]
    assert not found


@pytest.mark.root
@pytest.mark.parametrize("command", [["forebay", "--help"], ["forebay-operator", "--help"]], ids=" ".join)
def test_commands_start(image: Image, command: list[str]) -> None:
    argv = image.argv(NOBODY, {}, command)
    told = subprocess.run(argv, check=False, env=image.environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (told.returncode, told.stdout.startswith("usage: forebay")) == (0, True), told.stderr


@pytest.mark.root
def test_a_member_serves(image: Image, folder: pathlib.Path) -> None:
    one = Member(folder)
    volumes = {one.inside(path): path for path in ("/etc/forebay", "/var/lib/forebay", "/run/forebay")}
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    command = [expand(word, {"POD_IP": "127.0.0.1"}) for word in workload.COMMAND]
    with image.running(NOBODY, volumes, command) as child:
        wait_until(lambda: one.answers("/healthz"), child, "the member answers")
        (real,) = {
            line for line in pathlib.Path(f"/proc/{child.pid}/status").read_text().splitlines() if "Uid:" in line
        }
        assert real.split()[1:] == [str(NOBODY)] * 4


@pytest.mark.root
@pytest.mark.kube
def test_an_operator_is_elected(image: Image, folder: pathlib.Path, control_plane: ControlPlane) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    for part in (config["clusters"][0]["cluster"], config["users"][0]["user"]):
        for name in [name for name in part if name != "server"]:
            part[f"{name}-data"] = base64.b64encode(pathlib.Path(part.pop(name)).read_bytes()).decode()
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    for path in (folder, folder / "kubeconfig"):
        os.chown(path, NOBODY, NOBODY)
    (port,) = free_ports(1)
    namespace = control_plane.namespace()
    command = ["forebay-operator", "--namespace", namespace, "--health-port", str(port)]

    def elected() -> bool:
        at = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/forebay-operator"
        return bool(control_plane.call("GET", at)[1].get("spec", {}).get("holderIdentity"))

    with image.running(NOBODY, {folder: "/etc/forebay"}, command, KUBECONFIG="/etc/forebay/kubeconfig") as child:
        wait_until(elected, child, "the lease taken")
        wait_until(lambda: status(port, "/readyz") == 200, child, "ready")


@pytest.mark.root
def test_agent_and_csi_node_answer_their_probes(image: Image, folder: pathlib.Path) -> None:
    (port,) = free_ports(1)
    for name in ("etc", "run", "state", "kubelet"):
        (folder / name).mkdir()
    agent = {"socket": "/run/forebay/agent.sock", "state_path": "/var/lib/forebay/agent"}
    csi = {"node": "here", "agent_socket": agent["socket"], "state_path": "/var/lib/forebay/csi", "health_port": port}
    (folder / "etc" / "agent.json").write_text(json.dumps(agent))
    (folder / "etc" / "csi.json").write_text(json.dumps(csi))
    targets = {"etc": "/etc/forebay", "run": "/run/forebay", "state": "/var/lib/forebay", "kubelet": "/var/lib/kubelet"}
    volumes = {folder / name: target for name, target in targets.items()}

    def command(name: str) -> list[str]:
        return ["python", "-m", "forebay_cache.main", name, "--config", f"/etc/forebay/{name}.json"]

    with image.running(0, volumes, command("agent"), ALL) as one, image.running(0, volumes, command("csi")) as two:
        wait_until(lambda: alive(folder / "run" / "agent.sock"), one, "the agent answers")
        wait_until(lambda: status(port, "/healthz") == 200, two, "the CSI node answers")
        told = pathlib.Path(f"/proc/{two.pid}/status").read_text()
        (effective,) = (int(line.split()[1], 16) for line in told.splitlines() if line.startswith("CapEff:"))
        assert not effective & (1 << 1 | 1 << 21), "CAP_DAC_OVERRIDE or CAP_SYS_ADMIN"
    assert (folder / "kubelet" / "plugins").is_dir()


def alive(path: pathlib.Path) -> bool:
    """As the chart's probe asks."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(4)
        try:
            line.connect(str(path))
            line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 " in line.recv(64)
        except OSError:
            return False
