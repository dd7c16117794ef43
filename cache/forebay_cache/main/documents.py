"""Reads the configuration document of a process."""

import os
from typing import TypeVar

from pydantic import ValidationError

from forebay_cache.contract.config import Document
from forebay_cache.model.errors import ConfigError

D = TypeVar("D", bound=Document)


def load(model: type[D], path: str) -> D:
    """Raises ConfigError that names the file and the field."""
    try:
        with open(path, "rb") as file:
            return model.model_validate_json(file.read())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}; give --config the path of a {model.__name__} document") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "document"
        raise ConfigError(f"{path}: {field}: {first['msg']}") from exc


def below(root: str | None, path: str) -> str:
    """`path` as this process sees it: a pod that runs as a plain process has its volumes below a directory of its own."""
    root = root or os.environ.get("FOREBAY_ROOT", "")
    return os.path.join(root, path.lstrip("/")) if root else path
