"""What the agent checks of an image before the kernel sees it: that its device table is that of the data devices.

The kernel checks neither which device is which nor how long each is; wrong ones mount, and read as wrong bytes.
Source: Linux fs/erofs/erofs_fs.h.
"""

import struct

from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE

_MAGIC = 0xE0F5E1E2
_AT = 1024
_DEVICES_AT = 0x56
_SLOT = 128


def device_sizes(head: bytes) -> list[int]:
    """Bytes of each data device, from the image's first block. Raises CatalogCorrupt."""
    if len(head) < BLOCK_SIZE or struct.unpack_from("<I", head, _AT)[0] != _MAGIC:
        raise CatalogCorrupt("an image does not begin like EROFS")
    count, slot = struct.unpack_from("<HH", head, _AT + _DEVICES_AT)
    if slot * _SLOT + count * _SLOT > BLOCK_SIZE:
        raise CatalogCorrupt(f"an image has {count} data devices at slot {slot}: more than its first block holds")
    return [struct.unpack_from("<I", head, (slot + number) * _SLOT + 64)[0] * BLOCK_SIZE for number in range(count)]
