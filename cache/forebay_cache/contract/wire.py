"""Ports and the frames of the node socket, by which the agent of a node reads chunks from a member on the same node.

A unix stream socket, root only. Every message is one HEADER, then `length` bytes of body; little endian. Many requests may
be under way on a connection; answers come in any order and carry the request's number.

Requests:  OP_CHUNK  body CHUNK: bytes [start, stop) of a chunk, and whether the descriptor of a complete chunk will do.
           OP_FILE   body FILE then the commit id in ASCII: a catalog file of a commit.
Answers:   ST_DESCRIPTOR  no body; one descriptor rides along (SCM_RIGHTS, on the header's first byte): the complete chunk's
                          file (bytes at their offsets), or the catalog file. Read-only. The agent closes it.
           ST_BYTES       body: exactly the bytes that were asked for.
           ST_ERROR       body: errno i32, then a message in UTF-8.

Eviction unlinks: a held descriptor pins 8 MiB of disk, so the agent keeps a bounded number of them and drops idle ones.
"""

import struct

DATA_PORT = 7450
ADMIN_PORT = 9450

HEADER = struct.Struct("<HHIQ")
"""op or status, protocol version, body length, request number."""
CHUNK = struct.Struct("<32sIIII")
"""segment id, chunk number, start, stop, flags."""
FILE = struct.Struct("<I")
"""which catalog file."""

VERSION = 1
OP_CHUNK, OP_FILE = 1, 2
ST_DESCRIPTOR, ST_BYTES, ST_ERROR = 1, 2, 3
WANT_DESCRIPTOR = 1
"""Flag: a descriptor is preferred over bytes (if the chunk is complete; else bytes come)."""
FILE_IMAGE, FILE_DEVICES = 1, 2
BODY_LIMIT = (1 << 20) + 4096
"""Longest body: one READ of a data device."""
