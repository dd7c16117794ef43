"""Where the checks put objects, and the origin that reads them back: in memory, a directory, a real S3 store."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import SecretStr
from tests.rigs.rgw import Gateway

from forebay_cache.contract.config import Credentials, DirectorySource, S3Source
from forebay_cache.origin.base import Origin
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.origin.s3 import S3Origin


class Place(Protocol):
    @property
    def origin(self) -> Origin: ...
    def put(self, key: bytes, data: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def holds(self, key: bytes) -> bool:
        """Whether an object may have this key here at all."""
        ...


class MemoryPlace:
    def __init__(self) -> None:
        self.origin = MemoryOrigin()

    def put(self, key: bytes, data: bytes) -> None:
        self.origin.put(key, data)

    def delete(self, key: bytes) -> None:
        self.origin.delete(key)

    def holds(self, key: bytes) -> bool:
        return bool(key)


class FolderPlace:
    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.origin = FolderOrigin(DirectorySource(path=str(root)))

    def put(self, key: bytes, data: bytes) -> None:
        path = self._path(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pathlib.Path(os.fsdecode(path)).write_bytes(data)

    def delete(self, key: bytes) -> None:
        os.unlink(self._path(key))

    def holds(self, key: bytes) -> bool:
        return not any(part in (b"", b".", b"..") for part in key.split(b"/"))

    def _path(self, key: bytes) -> bytes:
        return os.path.join(os.fsencode(self.root), key)


class S3Place:
    def __init__(self, gateway: Gateway, **source: Any) -> None:
        self.bucket = gateway.bucket()
        self.client = gateway.client()
        self.source = S3Source(bucket=self.bucket, endpoint=gateway.endpoint, **source)
        self.origin = S3Origin(self.source, keys_of(gateway))

    def put(self, key: bytes, data: bytes, headers: Mapping[str, Any] | None = None) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key.decode(), Body=data, **(headers or {}))

    def delete(self, key: bytes) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key.decode())

    def holds(self, key: bytes) -> bool:
        return bool(key)


def keys_of(gateway: Gateway) -> Credentials:
    return Credentials(access_key_id=gateway.access_key, secret_access_key=SecretStr(gateway.secret_key))
