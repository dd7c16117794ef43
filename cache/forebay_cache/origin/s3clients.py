"""The two clients of one bucket, with the same credentials and no retries of their own."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore import UNSIGNED
from obstore.store import S3Store

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.origin.limits import OriginLimits


@dataclass(frozen=True, slots=True)
class Clients:
    bytes: S3Store
    control: Any
    """aiobotocore's S3 client; it has no types."""


class S3Clients:
    """Opened at the first call, closed by `aclose`."""

    def __init__(self, source: S3Source, credentials: Credentials | None, limits: OriginLimits) -> None:
        self._source = source
        self._credentials = credentials
        self._limits = limits
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._clients: Clients | None = None

    async def get(self) -> Clients:
        if self._clients is None:
            async with self._opening:
                if self._clients is None:
                    self._clients = await self._open()
        return self._clients

    async def aclose(self) -> None:
        self._clients = None
        await self._stack.aclose()

    async def _open(self) -> Clients:
        session = get_session()
        session.set_config_variable("metadata_service_timeout", 1)
        session.set_config_variable("metadata_service_num_attempts", 1)
        keys = self._keys()
        # no keys given: what the machine has (environment, instance role), and where it has none, nobody in particular
        anonymous = not keys and await session.get_credentials() is None
        config = AioConfig(
            signature_version=UNSIGNED if anonymous else "s3v4",
            max_pool_connections=self._limits.concurrency,
            connect_timeout=self._limits.connect_s,
            read_timeout=self._limits.first_byte_s,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path" if self._source.path_style else "virtual"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        context = session.create_client(
            "s3", endpoint_url=self._source.endpoint, region_name=self._source.region, config=config, **keys
        )
        control = await self._stack.enter_async_context(context)
        control.meta.events.register_last("before-parameter-build.s3", _stay_here)
        return Clients(self._store(session, anonymous=anonymous), control)

    def _keys(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        token = self._credentials.session_token
        return {
            "aws_access_key_id": self._credentials.access_key_id,
            "aws_secret_access_key": self._credentials.secret_access_key.get_secret_value(),
            **({"aws_session_token": token.get_secret_value()} if token else {}),
        }

    def _store(self, session: AioSession, *, anonymous: bool) -> S3Store:
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
            options["credential_provider"] = _Ambient(session)
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
