"""One cache server: store, catalog, origins, read path and three faces, wired."""

import argparse
import asyncio
import gc
import logging
import os
import random
import resource
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.contract.config import MemberConfig
from forebay_cache.main.documents import below, load
from forebay_cache.main.origins import make_origin
from forebay_cache.main.peering import Room, peering, running
from forebay_cache.member import durable
from forebay_cache.member.backend import Identity, MemberBackend, Parts
from forebay_cache.member.cleaning import Cleaning
from forebay_cache.member.metrics import show
from forebay_cache.member.prefetch.board import House, Prefetches
from forebay_cache.member.registry import Registry
from forebay_cache.member.roster import Roster
from forebay_cache.member.ruling import Ruling
from forebay_cache.member.scrub import Scrub
from forebay_cache.member.syncs import Syncs
from forebay_cache.model.ids import CommitId
from forebay_cache.read.reader import ChunkReader
from forebay_cache.serve.admin import start_admin
from forebay_cache.serve.face import Site
from forebay_cache.serve.node import Behind, start_node_socket
from forebay_cache.serve.server import start_s3
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.telemetry import Telemetry, configure_logging

STORE_THREADS = 8
log = logging.getLogger("forebay.member")


async def run(options: argparse.Namespace) -> None:
    """Serves until cancelled; then stops listening, ends what runs, and leaves a clean store."""
    config = configure(load(MemberConfig, below(options.root, options.config)), options)
    configure_logging(config.log_format, sys.stderr)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # chunks, catalog files and clients are descriptors
    async with AsyncExitStack() as stack:
        boot_id = boot()
        store = stack.enter_context(opened(config, boot_id))
        pool = stack.enter_context(ThreadPoolExecutor(STORE_THREADS, "store"))
        catalog = CatalogFiles(config.catalog_path)
        registry = Registry(config.cluster_uid, catalog, make_origin)
        stack.push_async_callback(registry.aclose)
        reader = ChunkReader(store, catalog, registry.origin, pool, time.monotonic)
        stack.push_async_callback(reader.aclose)
        syncs = Syncs(config.catalog_path, lambda: int(time.time() * 1000), registry.reopen)
        stack.push_async_callback(syncs.aclose)
        cleaning = Cleaning(catalog, partial(wanted, registry, syncs), time.monotonic)
        await stack.enter_async_context(running(cleaning.run()))
        scrub = Scrub(store, pool, reader.refill, random.randrange(store.stats().chunks + 1) - 1)  # noqa: S311
        await stack.enter_async_context(running(scrub.run()))
        roster = Roster(config.cluster_uid, os.path.join(os.path.dirname(config.catalog_path), "membership.json"))
        telemetry = Telemetry()
        await peering(config, Room(store.member, reader, catalog, registry, roster), telemetry, stack)
        ruling = Ruling(store, catalog, pool, lambda: (registry.snapshot, roster.placement))
        await stack.enter_async_context(running(ruling.run()))
        prefetches = prefetching(config, registry, reader, (store, catalog, pool))
        stack.push_async_callback(prefetches.aclose)
        parts = Parts(
            registry, catalog, store, syncs, reader.counters, scrub.counters, prefetches, roster, lambda: ruling.version
        )
        await serve(config, boot_id, parts, (reader, pool, telemetry), stack)
        await prefetches.resume()
        gc.collect()
        gc.freeze()  # what is here now stays: else each full collection walks it, 15 ms in which nobody is answered
        log.info("serving", extra={"member": store.member, "host": config.host, "port": config.data_port})
        await asyncio.Event().wait()


async def serve(
    config: MemberConfig,
    boot_id: str,
    parts: Parts,
    reading: tuple[ChunkReader, Executor, Telemetry],
    stack: AsyncExitStack,
) -> None:
    """Starts the faces over what the last state said; the newest comes by push."""
    reader, pool, telemetry = reading
    show(telemetry, parts)
    own = os.path.join(os.path.dirname(config.catalog_path), "state.json")
    state = durable.load(config.state_path, own)
    if state:
        await parts.registry.apply(state)
    backend = MemberBackend(Identity(config.cluster_uid, boot_id, own), parts, telemetry.exposition)
    site = Site(reader, parts.registry, telemetry, reader.accessed)
    s3 = await start_s3(site, config.host, config.data_port)
    stack.push_async_callback(s3.aclose)
    if config.node_socket:
        behind = Behind(reader, parts.catalog, pool, reader.accessed, parts.registry.resolve)
        node = await start_node_socket(config.node_socket, behind)
        stack.push_async_callback(node.aclose)
    admin = await start_admin(backend, host=config.host, port=config.admin_port, tls_dir=config.admin_tls)
    stack.push_async_callback(admin.aclose)


def wanted(registry: Registry, syncs: Syncs) -> Collection[CommitId] | None:
    """The commits that somebody counts on now; None while that is not known."""
    named = registry.named()
    return None if named is None else {*named, *syncs.commits()}


def prefetching(
    config: MemberConfig, registry: Registry, reader: ChunkReader, parts: tuple[DiskStore, CatalogFiles, Executor]
) -> Prefetches:
    store, catalog, pool = parts
    room = config.capacity_bytes * config.high_watermark_percent // 100
    house = House(
        reader,
        store,
        catalog,
        pool,
        room,
        time.monotonic,
        lambda: int(time.time() * 1000),
        lambda chunk: reader.peers is None or reader.peers.owns(chunk),
    )
    return Prefetches(os.path.join(os.path.dirname(config.catalog_path), "prefetch"), house, registry.commit_of)


def configure(config: MemberConfig, options: argparse.Namespace) -> MemberConfig:
    """The document as this process sees it: its paths below the root, its address from the command line."""
    paths = ("store_path", "catalog_path", "admin_tls", "node_socket", "state_path")
    moved = {name: below(options.root, path) for name in paths if (path := getattr(config, name))}
    return config.model_copy(update={**moved, "host": options.host or config.host})


def boot() -> str:
    """Names this boot of the machine: page cache and processes of another one are gone."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


@contextmanager
def opened(config: MemberConfig, boot_id: str) -> Iterator[DiskStore]:
    limits = Limits(
        config.capacity_bytes,
        config.high_watermark_percent,
        config.low_watermark_percent,
        config.eviction.lower(),
    )
    store = DiskStore.open(config.store_path, limits, cluster_uid=config.cluster_uid, boot_id=boot_id)
    try:
        yield store
    finally:
        store.close()
