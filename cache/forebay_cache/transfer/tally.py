"""Which spans of an ask are still open. Pure; both sides keep one."""

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.transfer.base import Ask, Other


class Tally:
    def __init__(self, ask: Ask) -> None:
        self._at = {index: span.start for index, span in enumerate(ask.spans)}
        self._stops = [span.stop for span in ask.spans]

    @property
    def open(self) -> list[int]:
        """Spans that wait for more, in order."""
        return list(self._at)

    @property
    def done(self) -> bool:
        return not self._at

    def came(self, index: int, start: int, stop: int) -> None:
        """Raises MemberBadFrame for bytes that are not the next ones of an open span."""
        at = self._at.get(index)
        if at is None or at != start or not start < stop <= self._stops[index]:
            raise MemberBadFrame(f"bytes [{start}, {stop}) of span {index}, where those from {at} are due")
        if stop == self._stops[index]:
            del self._at[index]
        else:
            self._at[index] = stop

    def ended(self, answer: Other) -> None:
        """Raises MemberBadFrame for a span that is not open."""
        if self._at.pop(answer.index, None) is None:
            raise MemberBadFrame(f"an answer for span {answer.index}, which is not open")
