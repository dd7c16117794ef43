"""One sync in a process of its own: its job comes in by standard input, reports go out as JSON lines."""

import argparse
import asyncio
import ctypes
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable

from pydantic import ValidationError

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import mend_all, reason, run_sync
from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import Source
from forebay_cache.main.origins import make_origin
from forebay_cache.member.syncs import SyncJob
from forebay_cache.model.errors import ConfigError, ForebayError
from forebay_cache.model.ids import CommitId
from forebay_cache.telemetry import configure_logging

MEMORY_LIMIT = 4 << 30
"""Bytes of data a sync may have: it dies alone where a listing is beyond all bounds."""
_PR_SET_PDEATHSIG = 1


async def run(_options: argparse.Namespace) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive the member that asked
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    configure_logging("json", sys.stderr, logging.WARNING)
    os.nice(5)
    job = _job(await asyncio.to_thread(sys.stdin.buffer.readline))
    report = SyncReport(id=job.id, state="Running", parent=job.parent, started_ms=job.started_ms, phase="Listing")
    reported = [report]

    def tell(phase: str, listed: int) -> None:
        reported[0] = report.model_copy(update={"phase": phase, "listed": listed})
        _write(reported[0])

    try:
        ended = await _synced(job, tell, reported)
    except (ForebayError, OSError, MemoryError, ValueError) as exc:
        update = {"state": "Failed", "reason": reason(exc), "message": str(exc) or type(exc).__name__}
        ended = reported[0].model_copy(update=update)
    _write(ended.model_copy(update={"finished_ms": int(time.time() * 1000)}))


def _job(line: bytes) -> SyncJob:
    """Raises ConfigError, without its input: that may hold credentials."""
    try:
        return SyncJob.model_validate_json(line)
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "document"
        raise ConfigError(f"standard input is no job of a sync: {field}: {first['msg']}") from None


async def _synced(job: SyncJob, tell: Callable[[str, int], None], reported: list[SyncReport]) -> SyncReport:
    files = CatalogFiles(job.catalog_path)
    mappings = [_mapping(source, job) for source in job.dataset.sources]
    try:
        commit = await run_sync(files, mappings, CommitId(job.parent) if job.parent else None, job.started_ms, tell)
        await mend_all(files, [CommitId(one) for one in (job.dataset.head, *job.dataset.retained) if one])
    finally:
        for mapping in mappings:
            await mapping.origin.aclose()
    return reported[0].model_copy(update={"state": "Succeeded", "phase": "", "commit": commit})


def _mapping(source: Source, job: SyncJob) -> Mapping:
    """Where an ETag does not determine bytes, segments of this sync are this sync's own."""
    origin = make_origin(source)
    prefix = source.s3.prefix if source.s3 else ""
    salt = b"" if origin.strong else f"{job.dataset.uid}/{job.id}".encode()
    return Mapping(source.path.encode(), prefix.encode(), origin, salt)


def _write(report: SyncReport) -> None:
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()
