"""How many different chunks were read, within some 2%, in 2 KiB whatever the number. Pure; not thread-safe.

Source: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", AofA 2007; small counts by the registers that are still empty.
"""

import math

_REGISTERS = 2048
_INDEX_BITS = 11
_SCALE = 0.7213 / (1 + 1.079 / _REGISTERS) * _REGISTERS * _REGISTERS


class Sketch:
    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._ranks = bytearray(_REGISTERS)
        self._empty = _REGISTERS
        self._sum = float(_REGISTERS)

    def add(self, mark: int) -> None:
        """`mark`: 64 well mixed bits; the same chunk has the same."""
        register, rest = mark & (_REGISTERS - 1), mark >> _INDEX_BITS
        rank = (rest & -rest).bit_length() or 64 - _INDEX_BITS + 1
        old = self._ranks[register]
        if rank > old:
            self._ranks[register] = rank
            self._empty -= not old
            self._sum += 2.0**-rank - 2.0**-old

    def count(self) -> float:
        """Exactly the same until something new comes."""
        estimate = _SCALE / self._sum
        if self._empty and estimate < 2.5 * _REGISTERS:
            return _REGISTERS * math.log(_REGISTERS / self._empty)
        return estimate
