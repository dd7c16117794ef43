"""Guards for the traps of two packages in folders named like other things."""

import ast
import importlib
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = {"operator": "forebay_operator", "cache": "forebay_cache"}


def test_operator_stays_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert "site-packages" not in str(importlib.import_module("operator").__file__)
    assert not str(importlib.import_module("operator").__file__).startswith(str(ROOT))


def test_folders_hold_one_package_each() -> None:
    for folder, package in PACKAGES.items():
        found = [p.name for p in (ROOT / folder).iterdir() if p.is_dir() and not p.name.startswith((".", "__"))]
        assert found == [package]


def test_no_ignore_file_hides_a_package() -> None:
    for name in (".gitignore", ".dockerignore"):
        path = ROOT / name
        lines = path.read_text().split() if path.exists() else []
        assert not {"cache", "cache/", "operator", "operator/", "/cache", "/operator"} & set(lines), name


def test_the_wheel_holds_every_module_and_file(tmp_path: pathlib.Path) -> None:
    build = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--wheel",
        "--no-build-isolation",
        "-q",
        "-o",
        str(tmp_path),
        str(ROOT),
    ]
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                assert str(path.relative_to(ROOT / folder)) in names


def test_tests_are_not_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_extras_are_those_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {"operator", "cache", "client", "mount", "csi", "rdma"}


def modules() -> list[pathlib.Path]:
    return [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]


FENCES = {
    # outside library -> the only places that may use it
    "kopf": ("forebay_operator/handlers.py", "forebay_operator/main.py"),
    "kubernetes": ("forebay_operator/kube/",),
    "obstore": ("forebay_cache/origin/",),
    "aiobotocore": ("forebay_cache/origin/",),
    "botocore": ("forebay_cache/origin/",),
    "grpc": ("forebay_cache/csi/",),
    "numpy": ("forebay_cache/placement/",),
    "pyverbs": ("forebay_cache/transfer/rdma",),
    "prometheus_client": ("forebay_cache/telemetry.py",),
    "httptools": ("forebay_cache/serve/",),
    "crc32c": ("forebay_cache/store/", "forebay_cache/catalog/", "forebay_cache/transfer/"),
    "dulwich": ("forebay_operator/monitoring/source/",),
    "jinja2": ("forebay_operator/monitoring/render/",),
    "promql_parser": ("forebay_operator/monitoring/lint/",),
    "diskcache": ("forebay_cache/serve/", "forebay_cache/origin/", "forebay_cache/read/"),
    "pydantic": (  # where text enters
        "forebay_cache/contract/",
        "forebay_cache/member/",
        "forebay_cache/main/",
        "forebay_cache/serve/admin.py",
        "forebay_cache/mount/",
        "forebay_operator/",
    ),
}


def test_outside_libraries_stay_behind_their_fences() -> None:
    broken = []
    for path in modules():
        place = "/".join(path.relative_to(ROOT).parts[1:])
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                allowed = FENCES.get(name.split(".")[0])
                if allowed and not place.startswith(allowed):
                    broken.append(f"{place}:{node.lineno} imports {name}")
    assert not broken, broken
