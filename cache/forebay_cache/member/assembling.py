"""Makes a gathered commit's image in a process of its own: that takes seconds of Python a million files, while readers wait."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from forebay_cache.catalog.gathering import Gathering
from forebay_cache.model.errors import StoreFailed

COMPLAINT_LIMIT = 4096


async def assembled(gathering: Gathering) -> None:
    """Raises StoreFailed where it could not be made. A child that is killed, as it is when this is cancelled, leaves no commit
    that lacks a file."""
    try:
        child = await asyncio.create_subprocess_exec(*command(gathering), stderr=asyncio.subprocess.PIPE)
    except OSError as exc:
        raise StoreFailed(f"no process can be started to make an image: {exc.strerror or exc}") from exc
    assert child.stderr
    complaint = b""
    try:
        while data := await child.stderr.read(COMPLAINT_LIMIT):
            complaint = (complaint + data)[-COMPLAINT_LIMIT:]
        status = await child.wait()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if status:
        why = (
            complaint.decode(errors="replace").strip().rpartition("\n")[2] or f"its process ended with status {status}"
        )
        raise StoreFailed(f"the image of commit {gathering.commit} was not made: {why}")


def command(gathering: Gathering) -> Sequence[str]:
    places = ("--catalog", gathering.files.root, "--commit", gathering.commit, "--record", gathering.record_path)
    return (sys.executable, "-m", "forebay_cache.main", "assemble", *places)
