"""Who is first of many: a tournament over numbers, and alarms by deadline. Pure; not thread-safe."""

import heapq
from array import array
from collections.abc import Callable, Iterator


class Contest:
    """The largest key of some leaves; a change costs log2(leaves) steps. Key 0 takes no part.
    Source: Knuth, TAOCP volume 3, section 5.4.1, trees of winners."""

    def __init__(self, leaves: int) -> None:
        """`leaves` is a power of two."""
        self._leaves = leaves
        self._keys = array("Q", bytes(16 * leaves))

    def key(self, leaf: int) -> int:
        return self._keys[leaf + self._leaves]

    def put(self, leaf: int, key: int) -> None:
        keys, at = self._keys, leaf + self._leaves
        keys[at] = key
        while at > 1:
            at >>= 1
            best = max(keys[2 * at], keys[2 * at + 1])
            if keys[at] == best:
                return
            keys[at] = best

    def best(self) -> int:
        """The first leaf of the largest key; -1 if all are 0."""
        keys, at = self._keys, 1
        if not keys[1]:
            return -1
        while at < self._leaves:
            at *= 2
            if keys[at] != keys[at // 2]:
                at += 1
        return at - self._leaves


class Alarms:
    """Deadlines that are put off more often than they are met: one entry a number, looked at anew only when it is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._armed: set[int] = set()

    def arm(self, number: int, deadline: int) -> None:
        """Replaces the number's earlier alarm (that takes a step for each)."""
        if number in self._armed:
            self._heap = [entry for entry in self._heap if entry[1] != number]
            heapq.heapify(self._heap)
        self._armed.add(number)
        heapq.heappush(self._heap, (deadline, number))

    def due(self, value: int, deadline: Callable[[int], int]) -> Iterator[int]:
        """Numbers whose deadline, as it is now, is not above `value`; they have no alarm any more. `deadline` of -1: the
        number needs none."""
        while self._heap and self._heap[0][0] <= value:
            _, number = self._heap[0]
            real = deadline(number)
            if real > value:
                heapq.heapreplace(self._heap, (real, number))
                continue
            heapq.heappop(self._heap)
            self._armed.discard(number)
            if real >= 0:
                yield number
