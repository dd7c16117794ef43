"""Makes any source keep the protocol: in time, in order, and an answer for every span."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from forebay_cache.model.errors import ForebayError
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer.base import Ask, Other, Reason, Refused, Run, Source
from forebay_cache.transfer.tally import Tally


async def answers(source: Source, asker: MemberId, ask: Ask) -> AsyncGenerator[Run | Other, None]:
    """What the source says; spans it leaves open, fails at, or has no time for are refused."""
    tally = Tally(ask)
    reason, message = Reason.FAILED, "the member had no answer"
    try:
        async with aclosing(_until(source.answer(asker, ask), ask.deadline_s)) as found:
            async for one in found:
                if isinstance(one, Run):
                    tally.came(one.index, one.start, one.stop)
                else:
                    tally.ended(one)
                yield one
    except TimeoutError:
        reason, message = Reason.DEADLINE, f"not within {ask.deadline_s:.1f} s"
    except ForebayError as exc:
        message = str(exc)
    for index in tally.open:
        yield Refused(index, reason, message)


async def _until(found: AsyncGenerator[Run | Other, None], deadline_s: float) -> AsyncGenerator[Run | Other, None]:
    """Raises TimeoutError when the deadline, from now, has passed."""
    when = asyncio.get_running_loop().time() + deadline_s
    async with aclosing(found):
        while True:
            async with asyncio.timeout_at(when):
                one = await anext(found, None)
            if one is None:
                return
            yield one
