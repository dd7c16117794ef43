"""Writes the image of the Dockerfile as an archive, without a Docker engine: `tools/image.py [--role ROLE] [-o FILE]`.

An OCI layout in a tar, which `docker load`, `ctr images import`, `kind load image-archive` and `skopeo` take. Interpreter and
system libraries are this machine's (a Debian 12 with Python 3.11), packages those of .venv, our code that of this folder. The
same inputs make the same bytes: names are sorted, times are zero, compiled files do not depend on when or where.

    / usr/local   the interpreter, as in python:3.11-slim        /opt/forebay   packages in lib/, commands in bin/
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = str(PROJECT["version"])
NOBODY = 65532
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
ZERO = "1970-01-01T00:00:00Z"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = frozenset(
    ("__pycache__", "test", "tests", "site-packages", "dist-packages", "idlelib", "tkinter", "turtledemo", "ensurepip")
)
UNUSED = (
    "config-3",
    "lib2to3",
    "pydoc_data",
    "_tkinter",
    "_test",
    "_ctypes_test",
    "_xxtest",
    "nis.",
    "_dbm",
    "_gdbm",
    "_curses",
)
"""Of the standard library, by how a name begins: they bring libraries of their own."""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ENVIRONMENT = {
    "PATH": "/opt/forebay/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": "/opt/forebay/lib",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "SSL_CERT_FILE": CERTIFICATES,
}
FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/none\nforebay:x:{NOBODY}:{NOBODY}:forebay:/:/none\n",
    "etc/group": f"root:x:0:\nforebay:x:{NOBODY}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
FOLDERS = ("dev", "etc/forebay", "proc", "run/forebay", "sys", "tmp", "var/lib/forebay")
OURS = ("forebay_operator", "forebay_cache", "bin", "forebay-")
"""The third layer: what changes most comes last, after interpreter and packages."""


@dataclass(frozen=True, slots=True)
class Role:
    """`user` unless a pod says otherwise."""

    extras: tuple[str, ...]
    command: tuple[str, ...]
    user: int = NOBODY


ROLES = {
    "forebay": Role(("operator", "cache", "client", "mount", "csi"), ("forebay", "--help")),
    "operator": Role(("operator",), ("forebay-operator",)),
    "member": Role(
        ("cache",), ("python", "-m", "forebay_cache.main", "member", "--config", "/etc/forebay/member.json")
    ),
    "node": Role(
        ("mount", "csi"), ("python", "-m", "forebay_cache.main", "agent", "--config", "/etc/forebay/agent.json"), 0
    ),
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Writes an image as an archive.")
    parser.add_argument("--role", choices=sorted(ROLES), default="forebay")
    parser.add_argument("--name", help=f"of the image; forebay:{VERSION} unless said, with the role where there is one")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    base = "forebay" if options.role == "forebay" else f"forebay-{options.role}"
    name = options.name or f"{base}:{VERSION}"
    output = options.output or ROOT / "build" / f"{base}-{VERSION}.tar"
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="forebay-image-") as folder:
        stage = pathlib.Path(folder, "root")
        fill(stage, ROLES[options.role])
        digest = write(output, stage, ROLES[options.role], name)
    sys.stdout.write(f"{output} {name} {output.stat().st_size / 1e6:.0f} MB {digest}\n")


def fill(stage: pathlib.Path, role: Role) -> None:
    """The image's root directory."""
    for folder in FOLDERS:
        (stage / folder).mkdir(parents=True)
    for path, text in FILES.items():
        (stage / path).write_text(text)
    copy(pathlib.Path(CERTIFICATES), stage / CERTIFICATES[1:])
    for name in ("lib", "lib64"):
        (stage / "usr" / name).mkdir(parents=True)
        (stage / name).symlink_to(f"usr/{name}")
    add_interpreter(stage)
    for package in sorted(closure(role.extras)):
        add_package(stage / "opt/forebay/lib", metadata.distribution(package))
    add_ours(stage / "opt/forebay")
    add_libraries(stage)
    compile_all(stage)


def add_interpreter(stage: pathlib.Path) -> None:
    library = pathlib.Path(os.__file__).parent
    copy_tree(library, stage / "usr/local/lib" / PYTHON)
    copy(pathlib.Path(sys.base_prefix, "bin", PYTHON).resolve(), stage / "usr/local/bin" / PYTHON)
    for link in ("python", "python3"):
        (stage / "usr/local/bin" / link).symlink_to(PYTHON)


def closure(extras: Iterable[str]) -> frozenset[str]:
    """Names of the packages that these extras of ours need, all told."""
    needed = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    found: dict[str, frozenset[str]] = {}
    while needed:
        wanted = Requirement(needed.pop())
        name, before = wanted.name.lower().replace("_", "-"), found.get(wanted.name.lower().replace("_", "-"))
        if before is not None and wanted.extras <= before:
            continue
        found[name] = frozenset(wanted.extras) | (before or frozenset())
        needed += [one for one in metadata.distribution(name).requires or () if applies(Requirement(one), found[name])]
    return frozenset(found)


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def add_package(target: pathlib.Path, package: metadata.Distribution) -> None:
    """What its RECORD lists, but commands and what only this machine's installer wrote."""
    for entry in package.files or ():
        source = pathlib.Path(str(entry.locate()))
        skipped = ".." in entry.parts or LEFT_OUT & set(entry.parts) or source.suffix in (".pyi", ".pyc")
        installer = entry.parent.suffix == ".dist-info" and entry.name not in ("METADATA", "entry_points.txt")
        if not skipped and not installer and source.is_file():
            copy(source, target / entry)


def add_ours(target: pathlib.Path) -> None:
    for folder in ("operator/forebay_operator", "cache/forebay_cache"):
        copy_tree(ROOT / folder, target / "lib" / pathlib.Path(folder).name)
    said = target / "lib" / f"forebay-{VERSION}.dist-info"
    said.mkdir()
    (said / "METADATA").write_text(f"Metadata-Version: 2.1\nName: forebay\nVersion: {VERSION}\n")
    (target / "bin").mkdir()
    for name, entry in PROJECT["scripts"].items():
        module, function = entry.split(":")
        script = target / "bin" / name
        script.write_text(
            f"#!/usr/local/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)


def add_libraries(stage: pathlib.Path) -> None:
    """System libraries that anything here is linked with."""
    seen: set[str] = set()
    todo = [path for path in sorted(stage.rglob("*")) if path.is_file() and not path.is_symlink() and is_elf(path)]
    for path in todo:
        said = subprocess.run(["ldd", path], check=False, capture_output=True, text=True, timeout=30).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            # one from elsewhere (an interpreter's own) goes where the loader looks by itself
            system = re.match(r"(?:/usr)?(/lib.*)", library)
            place = f"usr{system[1]}" if system else f"usr/lib/{pathlib.Path(library).name}"
            if library not in seen and not library.startswith(str(stage)):
                seen.add(library)
                copy(pathlib.Path(library).resolve(), stage / place)


def is_elf(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def compile_all(stage: pathlib.Path) -> None:
    """The root is read-only where it runs, so nothing is compiled there; names inside are those of the image."""
    command = [sys.executable, "-I", "-m", "compileall", "-q", "-s", str(stage), "-p", "/", "--invalidation-mode"]
    folders = [str(stage / "usr/local/lib" / PYTHON), str(stage / "opt/forebay/lib")]
    # what cannot be compiled are templates and files of other versions, which nobody imports
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run(
        [*command, "unchecked-hash", *folders], check=False, capture_output=True, env=environment, timeout=240
    )


def write(output: pathlib.Path, stage: pathlib.Path, role: Role, name: str) -> str:
    """The archive -> the manifest's digest."""
    parts = [layer(stage, number) for number in range(3)]
    blobs = {digest(part): part for part in parts}
    config = document(image_config(role, [digest(part) for part in parts]))
    layers = [descriptor("application/vnd.oci.image.layer.v1.tar", part) for part in parts]
    manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        }
    )
    blobs |= {digest(config): config, digest(manifest): manifest}
    registry = "/" in name and re.search(r"[.:]|^localhost$", name.split("/", 1)[0])
    full = name if registry else f"docker.io/library/{name}"
    notes = {"io.containerd.image.name": full, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1]}
    listed = {**descriptor("application/vnd.oci.image.manifest.v1+json", manifest), "annotations": notes}
    docker = {"Config": blob(config), "RepoTags": [name], "Layers": [blob(part) for part in parts]}
    files = {
        "oci-layout": document({"imageLayoutVersion": "1.0.0"}),
        "index.json": document({"schemaVersion": 2, "manifests": [listed]}),
        "manifest.json": document([docker]),  # for a docker older than 25
        **{f"blobs/sha256/{key.removeprefix('sha256:')}": data for key, data in sorted(blobs.items())},
    }
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as archive:
        for path, data in files.items():
            archive.addfile(plain(tarfile.TarInfo(path), size=len(data)), io.BytesIO(data))
    return digest(manifest)


def layer(stage: pathlib.Path, number: int) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(stage.rglob("*")):
            name = str(path.relative_to(stage))
            if layer_of(name) == number:
                add(archive, path, name)
    return data.getvalue()


def layer_of(name: str) -> int:
    if not name.startswith("opt/forebay/"):
        return 0
    inside = name.removeprefix("opt/forebay/").removeprefix("lib/")
    return 2 if inside.startswith(OURS) else 1


def add(archive: tarfile.TarFile, path: pathlib.Path, name: str) -> None:
    info = plain(tarfile.TarInfo(name))
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
        archive.addfile(info)
    elif path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        archive.addfile(info)
    else:
        data = path.read_bytes()
        info.size, info.mode = len(data), 0o755 if path.stat().st_mode & 0o100 else 0o644
        archive.addfile(info, io.BytesIO(data))


def plain(info: tarfile.TarInfo, size: int = 0) -> tarfile.TarInfo:
    info.size, info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname = size, 0o644, 0, 0, 0, "", ""
    return info


def image_config(role: Role, layers: Sequence[str]) -> Mapping[str, object]:
    labels = {"org.opencontainers.image.title": "forebay", "org.opencontainers.image.version": VERSION}
    return {
        "architecture": MACHINES[platform.machine()],
        "os": "linux",
        "created": ZERO,
        "config": {
            "User": f"{role.user}:{role.user}",
            "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "Cmd": list(role.command),
            "WorkingDir": "/",
            "Labels": {**labels, "org.opencontainers.image.licenses": str(PROJECT["license"])},
        },
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
        "history": [
            {"created": ZERO, "created_by": f"tools/image.py: {what}"}
            for what in ("interpreter", "packages", "forebay")
        ],
    }


def descriptor(media_type: str, data: bytes) -> Mapping[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def document(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def copy_tree(source: pathlib.Path, target: pathlib.Path) -> None:
    for path in tree(source):
        copy(path, target / path.relative_to(source))


def tree(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Its files, but what an image has no use for."""
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.startswith(UNUSED) or path.suffix in (".pyi", ".pyc", ".a"):
            continue
        if path.is_dir():
            yield from tree(path)
        elif path.is_file():
            yield path


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


if __name__ == "__main__":
    main(sys.argv[1:])
