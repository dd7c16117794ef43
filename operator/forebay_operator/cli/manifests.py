"""Manifests in files: the same ones kubectl takes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from forebay_operator.model import CACHE_CLUSTER, DATASET, SECRET, BadManifest, Object, key_of

ALLOWED = (CACHE_CLUSTER, DATASET, SECRET)
SUFFIXES = (".yaml", ".yml", ".json")


def read_manifests(paths: Sequence[str], namespace: str) -> list[Object]:
    """Every object of files and directories (not below them), in order. Raises BadManifest that names file and object."""
    return [complete(body, path, namespace) for path in files(paths) for body in documents(path)]


def files(paths: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
        if not found:
            raise BadManifest(f"{path} holds no manifest: no file ends with {', '.join(SUFFIXES)}")
        yield from found


def documents(path: Path) -> Iterable[object]:
    try:
        return [body for body in yaml.safe_load_all(path.read_text()) if body is not None]
    except OSError as exc:
        raise BadManifest(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise BadManifest(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc


def complete(body: object, path: Path, namespace: str) -> Object:
    """`body` with its namespace written out."""
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise BadManifest(f"{path}: a manifest is a mapping with apiVersion, kind and metadata")
    metadata = {"namespace": namespace, **body.get("metadata", {})}
    whole = {**body, "metadata": metadata}
    if not isinstance(metadata.get("name"), str):
        raise BadManifest(f"{path}: {body.get('kind')}: metadata.name is missing")
    kinds = ", ".join(kind.kind for kind in ALLOWED)
    name = f"{body.get('apiVersion')}/{body.get('kind')} {metadata['name']}"
    if (body.get("apiVersion"), body.get("kind")) not in {(kind.api_version, kind.kind) for kind in ALLOWED}:
        raise BadManifest(f"{path}: {name}: Forebay takes {kinds} here; apply other kinds to a cluster with kubectl")
    key_of(whole)
    return whole
