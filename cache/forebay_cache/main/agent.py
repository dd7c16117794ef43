"""The agent of a node: mounts commits, and unmounts them when it ends."""

import argparse
import sys

from forebay_cache.contract.agent import AgentConfig
from forebay_cache.main.documents import below, load
from forebay_cache.mount.agent import run_agent
from forebay_cache.telemetry import configure_logging


async def run(options: argparse.Namespace) -> None:
    """Serves until cancelled."""
    config = load(AgentConfig, below(options.root, options.config))
    configure_logging(config.log_format, sys.stderr)
    await run_agent(config)
