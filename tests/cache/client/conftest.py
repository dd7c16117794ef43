"""The client meets the real S3 face: the member in miniature of tests/cache/serve."""

from tests.cache.serve.conftest import limits, member, objects, running

__all__ = ["limits", "member", "objects", "running"]
