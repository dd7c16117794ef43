"""How a call comes in and an answer goes out: deadline, gRPC code, count, log. The only place that knows gRPC's server side."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from forebay_cache.contract import metrics
from forebay_cache.model import errors
from forebay_cache.telemetry import Telemetry

log = logging.getLogger("forebay.csi")
MARGIN_S = 0.2
"""Answered so much before the caller's own deadline, so that it learns the reason."""
_CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (errors.BadInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.VolumeConflict, grpc.StatusCode.ALREADY_EXISTS),
    (errors.VolumeNotStaged, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.TargetInUse, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.MountUnsupported, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.VolumeBusy, grpc.StatusCode.ABORTED),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.AgentUnreachable, grpc.StatusCode.UNAVAILABLE),
    (errors.MemberUnreachable, grpc.StatusCode.UNAVAILABLE),
    (errors.StoreFailed, grpc.StatusCode.UNAVAILABLE),
    (errors.ForebayError, grpc.StatusCode.INTERNAL),
)
"""A kubelet takes DEADLINE_EXCEEDED, ABORTED and UNAVAILABLE for "may have happened" and takes down what it did not need; any
other code says that nothing is mounted."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service. `answer` raises ForebayError."""

    name: str
    request: type[Message]
    answer: Callable[[Any], Awaitable[Message]]


class Door:
    """Every call passes here."""

    def __init__(self, telemetry: Telemetry, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._counts = telemetry.count(metrics.CSI_CALLS)
        self._seconds = telemetry.time(metrics.CSI_SECONDS)

    def service(self, name: str, methods: Sequence[Method]) -> grpc.GenericRpcHandler:
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._handler(method), method.request.FromString, lambda message: message.SerializeToString()
            )
            for method in methods
        }
        return grpc.method_handlers_generic_handler(name, handlers)

    def _handler(self, method: Method) -> Callable[[Any, grpc.aio.ServicerContext], Awaitable[Message]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Message:
            started, code = time.monotonic(), grpc.StatusCode.OK
            try:
                async with asyncio.timeout(self._left(context)):
                    return await method.answer(request)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as exc:  # the outermost place: each becomes a code
                code, text = self._refusal(method.name, exc)
                await context.abort(code, text)
                raise  # abort has raised already
            finally:
                self._counts.add(1, method.name, code.name)
                self._seconds.of(method.name).observe(time.monotonic() - started)

        return answer

    def _left(self, context: grpc.aio.ServicerContext) -> float:
        left = context.time_remaining()
        return self._deadline_s if left is None else max(0.0, min(self._deadline_s, left - MARGIN_S))

    def _refusal(self, method: str, exc: Exception) -> tuple[grpc.StatusCode, str]:
        code = next((code for kind, code in _CODES if isinstance(exc, kind)), None)
        if code is None:
            log.error("a call failed", extra={"call": method}, exc_info=exc)
            return grpc.StatusCode.INTERNAL, "an internal error occurred; the log of the node's csi container says more"
        text = str(exc) or f"{method} was not done in time; what it began goes on, so the same call again is safe"
        log.warning("refused", extra={"call": method, "code": code.name, "detail": text})
        return code, text
