"""The whole error tree. Each class says whose fault it is and whether a retry can help.

Foreign errors become one of these once, at the edge that met them, from a table, with the cause kept.
A message names the object, the limit and the next step; it never holds a secret.
"""

from typing import ClassVar


class ForebayError(Exception):
    """Root. `retry`: the same call may succeed later without anyone changing anything."""

    retry: ClassVar[bool] = False


class BadInput(ForebayError):
    """The caller's fault: a malformed name, range, document or signature."""


class ConfigError(BadInput):
    """A configuration document is wrong; the message holds the field's path."""


class NotFound(ForebayError):
    """The Dataset, commit, segment or key that was named does not exist here."""


class RangeNotSatisfiable(BadInput):
    """A byte range that lies outside of the object."""


class DeadlineExceeded(ForebayError):
    """The caller's deadline passed before the answer was there."""

    retry = True


class MemberUnreachable(ForebayError):
    """No member answered where one was said to be, or it is not well (5xx). Retry."""

    retry = True


class MemberBadFrame(ForebayError):
    """Another member sent what breaks the protocol, or bytes that do not match their checksums. Retry, or ask elsewhere."""

    retry = True


class OriginError(ForebayError):
    """Something about the origin. Raised as one of its subclasses."""


class OriginMissing(OriginError):
    """No such object or bucket at the origin (404)."""


class OriginChanged(OriginError):
    """The object is there, but not the version that was asked for (412, or another ETag)."""


class OriginDenied(OriginError):
    """Missing or refused credentials (401, 403). Retrying does not help; fixing the Secret or role does."""


class OriginBadAnswer(OriginError):
    """The origin's answer broke its own contract: short body, wrong range, wrong length. Retry."""

    retry = True


class OriginUnavailable(OriginError):
    """Refused, reset, timed out or 5xx. Retry until the deadline."""

    retry = True


class OriginThrottled(OriginUnavailable):
    """The origin asks for fewer requests (503 SlowDown, 429). Retry later."""


class PartGone(ForebayError):
    """A part of a segment no longer exists at the origin as this commit knew it: deleted or overwritten.

    Reading it is an error, never zeros. A new commit lists what is there now.
    """


class StoreError(ForebayError):
    """Something about the local disk."""


class StoreFull(StoreError):
    """No room for a chunk, and nothing that may be evicted. Reads go on without being cached."""

    retry = True


class StoreFailed(StoreError):
    """The disk answered with an error (EIO, read-only file system)."""


class ChunkCorrupt(StoreError):
    """A block does not match its checksum. The chunk is quarantined; a retry fills it anew."""

    retry = True


class CatalogCorrupt(ForebayError):
    """A catalog file does not match its name or cannot be parsed."""


class SyncConflict(ForebayError):
    """The sync met a state it may not continue from (another parent, a checkpoint of another source)."""

    retry = True


class PrefetchConflict(ForebayError):
    """Another prefetch of the same Dataset runs. A retry helps once it has ended or was stopped."""


class AccessDenied(ForebayError):
    """The caller may not read this: unknown key, bad signature, no grant."""


class KeyUnknown(AccessDenied):
    """The access key id names no key that is known here."""


class SignatureMalformed(AccessDenied):
    """The signature's frame is wrong: missing field, another algorithm, region or service, unsigned header."""


class SignatureMismatch(AccessDenied):
    """The signature does not belong to this request and secret."""


class SignatureExpired(AccessDenied):
    """A presigned URL past its time, or not yet valid."""


class ClockSkewed(AccessDenied):
    """The request's date is further from this clock than the protocol allows."""


class TargetInUse(ForebayError):
    """A mount's target is busy, not empty, or another commit is mounted there."""


class MountUnsupported(ForebayError):
    """The kernel or the user lacks a part the mount needs; the message names it and what to do."""


class MountFailed(ForebayError):
    """A mount or unmount went wrong; nothing half-made is left behind."""


class TargetGone(NotFound):
    """The directory above a kubelet's target is gone, and with it the pod. Nothing to mount any more."""


class AgentUnreachable(ForebayError):
    """The agent of this node does not answer. Retry."""

    retry = True


class VolumeConflict(ForebayError):
    """A volume is in use already, and not the way it is asked for now."""


class VolumeNotStaged(ForebayError):
    """A volume was to be published before it was staged on this node."""


class VolumeBusy(ForebayError):
    """Another call for this volume is still under way. Retry."""

    retry = True


class MembershipRefused(ForebayError):
    """A membership that was offered is not adopted; the one at hand stays. Sending the same one again does not help."""


class MembershipForeign(MembershipRefused):
    """It is of another cluster."""


class MembershipCorrupt(MembershipRefused):
    """Its placement table does not match its hash or its members, or cannot be read."""


class MembershipConflict(MembershipRefused):
    """Another membership of the same epoch is at hand: one of the two never passed the compare-and-swap."""
