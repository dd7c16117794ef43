"""The last step of a commit that was gathered from other members, in a process of its own."""

import argparse
import ctypes
import logging
import os
import resource
import signal
import sys

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import finish
from forebay_cache.main.sync import MEMORY_LIMIT
from forebay_cache.model.ids import CommitId
from forebay_cache.telemetry import configure_logging

_PR_SET_PDEATHSIG = 1


async def run(options: argparse.Namespace) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive the member that asked
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    configure_logging("json", sys.stderr, logging.WARNING)
    os.nice(5)
    finish(CatalogFiles(options.catalog), CommitId(options.commit), options.record)
