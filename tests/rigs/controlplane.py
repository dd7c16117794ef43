"""A real etcd and kube-apiserver on 127.0.0.1, for as long as a `with` block lasts. No controllers, no nodes.

e2e/controlplane/build.sh makes the programs; `program_folder` says why there are none, where that is so.
"""

import contextlib
import datetime as dt
import functools
import http.client
import ipaddress
import json
import os
import pathlib
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / "e2e" / "controlplane" / "build.sh"
DEADLINE_S = 90


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the API server listens and how to be its administrator."""

    endpoint: str
    ca: pathlib.Path
    certificate: pathlib.Path
    key: pathlib.Path
    kubeconfig: pathlib.Path
    etcd: str

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, Any]:
        """Status and document of one plain request: for what the Kube protocol has no word for."""
        with contextlib.closing(connection(self)) as line:
            line.request(method, path, None if body is None else json.dumps(body), {"content-type": kind})
            reply = line.getresponse()
            return reply.status, json.loads(reply.read() or b"{}")

    def namespace(self) -> str:
        """A new namespace; it goes with the server."""
        name = f"t-{secrets.token_hex(4)}"
        status, reply = self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status == 201, reply
        return name

    def forget(self, version: str) -> None:
        """Makes etcd forget what was before `version`: a watch of Secrets (no watch cache here) from then has expired."""
        host, port = self.etcd.removeprefix("http://").split(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=30)) as line:
            line.request("POST", "/v3/kv/compaction", json.dumps({"revision": version, "physical": True}))
            reply = line.getresponse()
            assert reply.status == 200, reply.read()

    def install(self, folder: pathlib.Path) -> None:
        """Creates the CRDs of a folder and waits until they are served."""
        at = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for path in sorted(folder.glob("*.yaml")):
            crd = yaml.safe_load(path.read_text())
            status, reply = self.call("POST", at, crd)
            assert status in (201, 409), reply
            wait_until(functools.partial(served, self, f"{at}/{crd['metadata']['name']}"), f"{path.name} served")


def program_folder() -> pathlib.Path | str:
    """The folder with etcd and kube-apiserver, or why there is none."""
    found = subprocess.run([BUILD, "--path"], check=True, capture_output=True, text=True, timeout=30)
    folder = pathlib.Path(found.stdout.strip())
    missing = [name for name in ("etcd", "kube-apiserver") if not os.access(folder / name, os.X_OK)]
    return f"no {' and '.join(missing)} in {folder}: e2e/controlplane/build.sh makes them" if missing else folder


@contextlib.contextmanager
def control_plane(folder: pathlib.Path, programs: pathlib.Path, flags: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """Starts both programs with their state in `folder`; ends them on the way out, and they end with this process.

    `flags`: more of the API server's.
    """
    etcd_port, peer_port, api_port = free_ports(3)
    pki = folder / "pki"
    pki.mkdir()
    write_pki(pki)
    kubeconfig = write_kubeconfig(folder, pki, f"https://127.0.0.1:{api_port}")
    etcd = f"http://127.0.0.1:{etcd_port}"
    files = (pki / "ca.crt", pki / "admin.crt", pki / "admin.key", kubeconfig)
    plane = ControlPlane(f"https://127.0.0.1:{api_port}", *files, etcd)
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(folder, etcd_command(programs, folder, etcd_port, peer_port)))
        server = stack.enter_context(process(folder, [*apiserver_command(programs, pki, etcd_port, api_port), *flags]))
        wait_until(lambda: alive(server, folder) and ready(plane), "the API server ready")
        yield plane


def etcd_command(programs: pathlib.Path, folder: pathlib.Path, port: int, peer: int) -> list[str]:
    client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return [
        str(programs / "etcd"),
        "--name=e0",
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=e0={peers}",
        "--log-level=warn",
    ]


def apiserver_command(programs: pathlib.Path, pki: pathlib.Path, etcd: int, port: int) -> list[str]:
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.key'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        # a pod needs a ServiceAccount that a controller makes; there are none here
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
        "--watch-cache-sizes=secrets#0",
        "--profiling=false",
    ]


@contextlib.contextmanager
def process(folder: pathlib.Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program with its output in a file of `folder`, ended politely, then not."""
    log = folder / f"{pathlib.Path(command[0]).name}.log"
    with log.open("wb") as out:
        # the kernel ends it when this process dies, however it dies
        bound = ["setpriv", "--pdeathsig", "KILL", *command]
        child = subprocess.Popen(bound, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=10)


def alive(child: subprocess.Popen[bytes], folder: pathlib.Path) -> bool:
    if child.poll() is None:
        return True
    told = (folder / "kube-apiserver.log").read_text(errors="replace").splitlines()[-5:]
    raise RuntimeError("kube-apiserver ended: " + "\n".join(told))


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Asks again and again, up to a deadline."""
    end = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not in {DEADLINE_S} s: {what}")
        time.sleep(0.05)


def ready(plane: ControlPlane) -> bool:
    try:
        with contextlib.closing(connection(plane)) as line:
            line.request("GET", "/readyz")
            return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def served(plane: ControlPlane, path: str) -> bool:
    """Whether a CRD is established and its resource answers."""
    _, crd = plane.call("GET", path)
    conditions = crd.get("status", {}).get("conditions") or []
    wrong = [
        c
        for c in conditions
        if c["type"] == "NonStructuralSchema" or (c["type"], c["status"]) == ("NamesAccepted", "False")
    ]
    assert not wrong, wrong
    if not any((c["type"], c["status"]) == ("Established", "True") for c in conditions):
        return False
    spec = crd["spec"]
    status, _ = plane.call("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
    return status == 200


def connection(plane: ControlPlane) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(plane.ca))
    context.load_cert_chain(str(plane.certificate), str(plane.key))
    host, port = plane.endpoint.removeprefix("https://").split(":")
    return http.client.HTTPSConnection(host, int(port), timeout=30, context=context)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def write_pki(folder: pathlib.Path) -> None:
    """ca, apiserver and admin as .crt and .key; sa.key signs service account tokens."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-ca")])
    signed = certificate(ca, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    write_pair(folder, "ca", signed.issuer_name(ca).sign(ca_key, hashes.SHA256()), ca_key)
    names = {
        "apiserver": [x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")],
        "admin": [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "admin"),
        ],
    }
    for name, attributes in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate(x509.Name(attributes), key)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        leaf = leaf.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        leaf = leaf.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        write_pair(folder, name, leaf.issuer_name(ca).sign(ca_key, hashes.SHA256()), key)
    (folder / "sa.key").write_bytes(pem(rsa.generate_private_key(65537, 2048)))


def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    today = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = (
        builder.serial_number(x509.random_serial_number()).not_valid_before(today - day).not_valid_after(today + day)
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def write_pair(folder: pathlib.Path, name: str, signed: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(pem(key))


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)


def write_kubeconfig(folder: pathlib.Path, pki: pathlib.Path, endpoint: str) -> pathlib.Path:
    path = folder / "kubeconfig"
    files = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "t", "cluster": {"server": endpoint, "certificate-authority": str(pki / "ca.crt")}}],
        "users": [{"name": "t", "user": files}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        "current-context": "t",
    }
    path.write_text(yaml.safe_dump(config))
    return path
