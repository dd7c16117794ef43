"""Shows a member's plain counters as the metrics of contract/metrics.py, when somebody scrapes."""

from collections.abc import Callable, Mapping
from functools import partial

from forebay_cache.contract import metrics
from forebay_cache.contract.config import CacheRules
from forebay_cache.member.backend import Parts
from forebay_cache.member.gather import GatherCounters
from forebay_cache.member.registry import Served
from forebay_cache.read.counters import OriginCounters
from forebay_cache.read.peers import PeerCounters
from forebay_cache.store.base import StoreStats
from forebay_cache.telemetry import Labels, Telemetry
from forebay_cache.transfer.tcp.listener import ListenerCounts

READ = {
    metrics.READ_HITS: "hits",
    metrics.READ_HIT_BYTES: "hit_bytes",
    metrics.READ_MISSES: "misses",
    metrics.READ_MISS_BYTES: "miss_bytes",
    metrics.READ_COPIED: "copied_bytes",
}
ORIGIN: Mapping[metrics.Metric, Callable[[OriginCounters], int]] = {
    metrics.ORIGIN_REQUESTS: lambda origin: origin.requests,
    metrics.ORIGIN_BYTES: lambda origin: origin.bytes,
    metrics.ORIGIN_ERRORS: lambda origin: origin.errors,
}
STORE: Mapping[metrics.Metric, Callable[[StoreStats], int]] = {
    metrics.STORE_CAPACITY: lambda stats: stats.capacity,
    metrics.STORE_USED: lambda stats: stats.used,
    metrics.STORE_EVICTED: lambda stats: stats.evicted_chunks,
    metrics.STORE_EVICTED_BYTES: lambda stats: stats.evicted_bytes,
    metrics.STORE_QUARANTINED: lambda stats: stats.quarantined,
}


def show(telemetry: Telemetry, parts: Parts) -> None:
    """Every value is read from where it is counted; nothing is counted twice."""
    for metric, name in READ.items():
        telemetry.show(metric, partial(_counter, parts, name))
    for metric, of_origin in ORIGIN.items():
        telemetry.show(metric, partial(_by_origin, parts, of_origin))
    for metric, of_store in STORE.items():
        telemetry.show(metric, partial(_of_store, parts, of_store))
    telemetry.show(metrics.ORIGIN_HELD, lambda: _held(parts))
    telemetry.show(metrics.STORE_CHUNKS, lambda: _chunks(parts.store.stats()))
    telemetry.show(metrics.STORE_SCRUBBED, lambda: {(): parts.scrub.bytes})
    telemetry.show(metrics.STORE_SCRUBS, lambda: {(): parts.scrub.passes})
    telemetry.show(metrics.MEMBERSHIP_EPOCH, lambda: {(): parts.roster.epoch})
    telemetry.show(metrics.DATASET_FILES, lambda: _heads(parts, lambda files, _: files))
    telemetry.show(metrics.DATASET_BYTES, lambda: _heads(parts, lambda _, size: size))
    telemetry.show(metrics.DATASET_CHARGED, lambda: _charged(parts))
    telemetry.show(metrics.DATASET_GUARANTEED, lambda: _asked(parts, lambda rules: rules.guaranteed_bytes))
    telemetry.show(metrics.DATASET_MAX, lambda: _asked(parts, lambda rules: rules.max_bytes))


def show_gathered(telemetry: Telemetry, counters: GatherCounters) -> None:
    """Of a member that has others."""
    telemetry.show(metrics.GATHER_COMMITS, lambda: {(): counters.commits})
    telemetry.show(metrics.GATHER_FILES, lambda: {(): counters.files})
    telemetry.show(metrics.GATHER_BYTES, lambda: {(): counters.bytes})
    telemetry.show(metrics.GATHER_REFUSED, lambda: {(): counters.refused})
    telemetry.show(metrics.GATHER_FAILED, lambda: {(): counters.failed})


def show_peers(telemetry: Telemetry, asked: PeerCounters, answered: ListenerCounts) -> None:
    """Of a member that has others."""
    telemetry.show(metrics.PEER_ASKS, lambda: {(): asked.asks})
    telemetry.show(metrics.PEER_RECEIVED, lambda: {(): asked.bytes})
    telemetry.show(metrics.PEER_FAILED, lambda: {(): asked.failed})
    telemetry.show(metrics.PEER_PASSED_BY, lambda: {(): asked.passed_by})
    telemetry.show(metrics.PEER_SENT, lambda: {(): answered.sent_bytes})
    telemetry.show(metrics.PEER_ANSWERS, lambda: answered.answers)
    telemetry.show(metrics.PEER_CONNECTIONS, lambda: {(): answered.connections})


def _counter(parts: Parts, name: str) -> dict[Labels, float]:
    return {(): getattr(parts.counters, name)}


def _of_store(parts: Parts, of: Callable[[StoreStats], int]) -> dict[Labels, float]:
    return {(): of(parts.store.stats())}


def _by_origin(parts: Parts, of: Callable[[OriginCounters], int]) -> dict[Labels, float]:
    return {(identity,): of(counters) for identity, counters in parts.counters.origins.items()}


def _held(parts: Parts) -> dict[Labels, float]:
    return {(identity,): held for identity, one in parts.registry.origins.items() if (held := one.held) is not None}


def _chunks(stats: StoreStats) -> dict[Labels, float]:
    return {("complete",): stats.chunks, ("partial",): stats.partial}


def _charged(parts: Parts) -> dict[Labels, float]:
    usage, by_uid = parts.store.charged(), parts.registry.snapshot.by_uid
    return {(_name(by_uid[uid]),): one.bytes for uid, one in usage.items() if uid in by_uid}


def _asked(parts: Parts, of: Callable[[CacheRules], int]) -> dict[Labels, float]:
    served = parts.registry.snapshot.by_uid.values()
    return {(_name(one),): size for one in served if (size := of(one.state.cache))}


def _name(one: Served) -> str:
    return f"{one.state.namespace}/{one.state.name}"


def _heads(parts: Parts, of: Callable[[int, int], int]) -> dict[Labels, float]:
    return {
        (_name(one),): of(one.head.file_count, one.head.total_bytes)
        for one in parts.registry.snapshot.by_uid.values()
        if one.head
    }
