"""The two clients of one bucket, with the same credentials and no retries of their own.

Each is opened at its first call: aiobotocore's takes some 0.3 s of CPU, which no byte should wait for.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore import UNSIGNED
from obstore.store import S3Store

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.origin.limits import OriginLimits

LOOK_AGAIN_S = 30.0


class S3Clients:
    """Closed by `aclose`."""

    def __init__(
        self, source: S3Source, credentials: Credentials | None, limits: OriginLimits, now: Callable[[], float]
    ) -> None:
        self._source = source
        self._credentials = credentials
        self._limits = limits
        self._now = now
        self._nobody = False
        self._look_at = 0.0
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._session: AioSession | None = None
        self._bytes: S3Store | None = None
        self._control: Any = None

    async def bytes(self) -> S3Store:
        if self._bytes is None:
            async with self._opening:
                if self._bytes is None:  # another call may have opened it meanwhile
                    self._bytes = self._store(anonymous=await self._anonymous())
        return self._bytes

    async def control(self) -> Any:
        """aiobotocore's S3 client; it has no types."""
        if self._control is None:
            async with self._opening:
                if self._control is None:
                    self._control = await self._open_control()
        return self._control

    async def denied(self) -> None:
        """Tells of a refusal. If nobody in particular had asked, the machine may have its credentials by now (its metadata
        service was away, or a token was not mounted yet): they are looked for, and the next call is signed by them."""
        if not self._nobody or self._now() < self._look_at:
            return
        self._look_at = self._now() + LOOK_AGAIN_S
        async with self._opening:
            if not await self._anonymous():
                self._bytes = self._control = None

    async def aclose(self) -> None:
        self._bytes = self._control = None
        await self._stack.aclose()

    async def _anonymous(self) -> bool:
        """No keys given: what the machine has (environment, instance role), and where it has none, nobody in particular."""
        self._nobody = self._credentials is None and await self._ambient().get_credentials() is None
        return self._nobody

    def _ambient(self) -> AioSession:
        if self._session is None:
            self._session = get_session()
            self._session.set_config_variable("metadata_service_timeout", 1)
            self._session.set_config_variable("metadata_service_num_attempts", 1)
        return self._session

    async def _open_control(self) -> Any:
        config = AioConfig(
            signature_version=UNSIGNED if await self._anonymous() else "s3v4",
            max_pool_connections=self._limits.concurrency,
            connect_timeout=self._limits.connect_s,
            read_timeout=self._limits.first_byte_s,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path" if self._source.path_style else "virtual"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        place = {"endpoint_url": self._source.endpoint, "region_name": self._source.region}
        context = self._ambient().create_client("s3", config=config, **place, **self._keys())
        control = await self._stack.enter_async_context(context)
        control.meta.events.register_last("before-parameter-build.s3", _stay_here)
        return control

    def _keys(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        token = self._credentials.session_token
        return {
            "aws_access_key_id": self._credentials.access_key_id,
            "aws_secret_access_key": self._credentials.secret_access_key.get_secret_value(),
            **({"aws_session_token": token.get_secret_value()} if token else {}),
        }

    def _store(self, *, anonymous: bool) -> S3Store:
        limits, source = self._limits, self._source
        options: dict[str, Any] = {
            "region": source.region,
            "virtual_hosted_style_request": not source.path_style,
            "skip_signature": anonymous,
            **({"endpoint": source.endpoint} if source.endpoint else {}),
        }
        if self._credentials:
            options |= {name.removeprefix("aws_").replace("session_", ""): key for name, key in self._keys().items()}
        elif not anonymous:
            options["credential_provider"] = _Ambient(self._ambient())
        return S3Store(
            source.bucket,
            client_options={
                "allow_http": True,
                "connect_timeout": f"{limits.connect_s}s",
                # a whole body may take long; its pace is watched buffer by buffer instead
                "timeout": "1h",
                "pool_max_idle_per_host": str(limits.concurrency),
            },
            retry_config={"max_retries": 0},
            **options,
        )


def _stay_here(context: dict[str, Any], **_: Any) -> None:
    """Else the client looks for the bucket in other regions by itself, without end where a store answers 301 to all."""
    context.setdefault("s3_redirect", {})["redirected"] = True


class _Ambient:
    """Gives obstore the session's credentials, which botocore refreshes before they expire."""

    def __init__(self, session: AioSession) -> None:
        self._session = session

    async def __call__(self) -> dict[str, Any]:
        credentials = await self._session.get_credentials()
        frozen = await credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=5),
        }
