"""Who may read which bucket: SigV4 against the access keys of the newest snapshot."""

from collections.abc import Callable, Mapping

from forebay_cache.model.errors import AccessDenied
from forebay_cache.model.sigv4 import Verifier, carries_signature
from forebay_cache.serve.base import Datasets, Served, Snapshot
from forebay_cache.serve.request import Request

_HINT = ", which its Secret holds and `forebay keys` prints"


class Guard:
    """Remembers nothing but derived signing keys, and the snapshot's secrets by key id until the next snapshot."""

    def __init__(self, datasets: Datasets, region: str, now: Callable[[], float]) -> None:
        self._datasets = datasets
        self._verifier = Verifier(region, now)
        self._snapshot: Snapshot | None = None
        self._secrets: Mapping[str, str] = {}
        self._readers: Mapping[str, frozenset[str]] = {}

    def check(self, request: Request, served: Served) -> None:
        """Raises AccessDenied or a subclass unless the request may read the Dataset."""
        key = self.key_of(request)
        if served.state.anonymous or (key is not None and key in self._readers[served.state.bucket]):
            return
        if key is None:
            raise AccessDenied(f"bucket {served.state.bucket} is not anonymous: sign the request with its keys{_HINT}")
        raise AccessDenied(f"access key {key} may not read bucket {served.state.bucket}: sign with its own keys{_HINT}")

    def key_of(self, request: Request) -> str | None:
        """The access key id that signed the request, verified; None if it is not signed. Raises AccessDenied."""
        if self._datasets.snapshot is not self._snapshot:
            self._learn(self._datasets.snapshot)
        return self._verifier.verify(request, self._secrets.get) if carries_signature(request) else None

    def may_read(self, key: str | None, served: Served) -> bool:
        return served.state.anonymous or key in self._readers[served.state.bucket]

    def _learn(self, snapshot: Snapshot) -> None:
        states = [served.state for served in snapshot.by_bucket.values()]
        keys = [(state.bucket, key) for state in states for key in state.access_keys]
        self._secrets = {key.access_key_id: key.secret_access_key.get_secret_value() for _, key in keys}
        self._readers = {state.bucket: frozenset(key.access_key_id for key in state.access_keys) for state in states}
        self._snapshot = snapshot
