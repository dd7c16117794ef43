"""Prefetch on a member's admin API: bytes are brought into the store, or taken out of it, before anyone reads them.

POST   /v1/datasets/{uid}/prefetch   body PrefetchRequest -> PrefetchReport: starts one, or returns the one that runs for
                                     the same request; 409 while another one of this Dataset runs
GET    /v1/datasets/{uid}/prefetch   -> PrefetchReport of the newest (404: never ran here)
DELETE /v1/datasets/{uid}/prefetch   -> PrefetchReport: stops the one that runs
"""

from typing import Literal

from pydantic import Field, model_validator

from forebay_cache.contract.admin import COMMIT_PATTERN
from forebay_cache.contract.config import Document

PATHS_LIMIT = 100_000
FAILURES_SHOWN = 20


class PrefetchRequest(Document):
    """`prefix` and `paths` choose files of the commit (None: the Dataset's head now); with neither, all of them.
    `bytes_per_second` bounds what is fetched from the origin; None: nothing does.

    Evict takes out only chunks whose every chosen byte is all they hold; others keep being read by other files.
    """

    action: Literal["Load", "Evict"] = "Load"
    commit: str | None = Field(None, pattern=COMMIT_PATTERN)
    prefix: str = ""
    paths: tuple[str, ...] | None = Field(None, max_length=PATHS_LIMIT)
    bytes_per_second: int | None = Field(None, ge=64 << 10)

    @model_validator(mode="after")
    def _one_choice(self) -> "PrefetchRequest":
        if self.prefix and self.paths is not None:
            raise ValueError("give a prefix or paths, not both")
        return self


class Failure(Document):
    path: str
    message: str


class PrefetchReport(Document):
    """One prefetch on one member. `Complete` means that a whole pass over the files found every byte in the store.

    `files` and `bytes` are what this member is to hold of the choice; `files_done` and `bytes_done` what it holds so far;
    `fetched` what that took from elsewhere. `rate`: bytes a second lately. `eta_s`: at this rate; None while it is unknown.
    `failed` counts files, the first of which are in `failures`.
    """

    id: str
    state: Literal["Running", "Complete", "Failed", "Stopped"]
    request: PrefetchRequest
    commit: str
    started_ms: int
    finished_ms: int | None = None
    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    fetched: int = 0
    rate: float = 0.0
    eta_s: float | None = None
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    message: str = ""
