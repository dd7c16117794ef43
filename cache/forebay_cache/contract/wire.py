"""Ports and the frames of the node socket, by which the agent of a node reads chunks from a member on the same node.

A unix stream socket; the server refuses peers that are neither root nor itself. Every message is one HEADER, then `length`
bytes of body; little endian. Many requests may be under way on a connection; answers come in any order and carry the
request's number. A message that breaks these rules ends the connection.

Requests:  OP_CHUNK  body CHUNK: bytes [start, stop) of a chunk, and whether the descriptor of a complete chunk will do.
           OP_FILE   body FILE then the commit id in ASCII: a catalog file of a commit.
           OP_COMMIT body: a Dataset's UID, a zero byte, a commit id or nothing (the commit new readers see); in ASCII.
           OP_READS  body READS, once or more: READs answered from a descriptor since the last report. Has no answer.
Answers:   ST_DESCRIPTOR  no body; one descriptor rides along (SCM_RIGHTS, on the header's first byte): the complete chunk's
                          file (bytes at their offsets), or the catalog file. Read-only. The agent closes it.
           ST_BYTES       body: exactly the bytes that were asked for; to OP_COMMIT contract.agent.ResolvedCommit in JSON.
           ST_ERROR       body: errno i32, then a message in UTF-8. ETIMEDOUT: an origin did not answer in time.

The descriptor shares its file description with the member: read at offsets, change no flags. Eviction unlinks: a held
descriptor pins 8 MiB of disk, so the agent holds a bounded number of them, drops idle ones, and drops those whose file has
no name any more within a second.
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
READS = struct.Struct("<32sIIQ")
"""segment id, chunk number, READs, bytes."""
ERROR = struct.Struct("<i")

VERSION = 1
OP_CHUNK, OP_FILE, OP_READS, OP_COMMIT = 1, 2, 3, 4
ST_DESCRIPTOR, ST_BYTES, ST_ERROR = 1, 2, 3
WANT_DESCRIPTOR = 1
"""Flag: a descriptor is preferred over bytes (if the chunk is complete; else bytes come)."""
FILE_IMAGE, FILE_DEVICES = 1, 2
READ_LIMIT = 1 << 20
"""Bytes one OP_CHUNK may ask for."""
BODY_LIMIT = READ_LIMIT + 4096
"""Longest body: one READ of a data device."""
REQUEST_LIMIT = 64 << 10
"""Longest body of a request."""
