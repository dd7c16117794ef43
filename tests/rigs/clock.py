"""A clock that runs faster than the wall's: seconds of a test are a fraction of one."""

import asyncio
import time

from forebay_operator.kube.lease import Clock

SPEED = 100.0


def fast(speed: float = SPEED) -> Clock:
    """`now` and `sleep` agree."""
    began = time.monotonic()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / speed)

    return Clock(lambda: (time.monotonic() - began) * speed, time.time, sleep)
