"""The policies by name."""

from collections.abc import Mapping

from forebay_cache.store.policies.base import Policy
from forebay_cache.store.policies.epoch import EPOCH
from forebay_cache.store.policies.lru import LRU
from forebay_cache.store.policies.s3fifo import S3FIFO

POLICIES: Mapping[str, Policy] = {"epoch": EPOCH, "s3fifo": S3FIFO, "lru": LRU}
