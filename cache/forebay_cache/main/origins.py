"""Which origin a source means."""

from forebay_cache.contract.config import Source
from forebay_cache.model.errors import ConfigError
from forebay_cache.origin.base import Origin
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.origin.s3 import S3Origin


def make_origin(source: Source) -> Origin:
    """Opens nothing yet. Raises ConfigError for a source that names no place."""
    if source.s3:
        return S3Origin(source.s3, source.credentials)
    if source.directory:
        return FolderOrigin(source.directory)
    raise ConfigError(f"source {source.name}: names no place; exactly one of s3 and directory is needed")
