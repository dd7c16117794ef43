"""The CSI node of a machine: speaks gRPC with the kubelet and asks the agent."""

import argparse
import os
import sys
import time

from forebay_cache.contract.volume import CsiConfig
from forebay_cache.csi.base import Limits
from forebay_cache.csi.driver import run_driver
from forebay_cache.main.documents import below, load
from forebay_cache.model.errors import ConfigError
from forebay_cache.telemetry import configure_logging


async def run(options: argparse.Namespace) -> None:
    """Serves until cancelled."""
    config = load(CsiConfig, below(options.root, options.config))
    configure_logging(config.log_format, sys.stderr)
    name = config.node or os.environ.get("NODE_NAME", "")
    if not name:
        raise ConfigError("node: empty, and so is the environment's NODE_NAME; give the pod spec.nodeName in it")
    wait_s = config.deadline_s / 2  # the other half is for the call itself
    limits = Limits(config.idle_s, wait_s, time.time, _boot_id())
    await run_driver(config.model_copy(update={"node": name, "host": options.host or config.host}), limits)


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
