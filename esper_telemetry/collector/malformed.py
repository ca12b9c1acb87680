"""Bytes that are no message are refused in words of the protocol.

gRPC's own answer to them is UNKNOWN and a traceback in the log, for every caller, with or without a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.wire import REFUSAL_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esper_telemetry.collector.metrics import Metrics


class Malformed(aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Parses the requests of all services; what cannot be parsed ends with INVALID_ARGUMENT.

    Args:
        own: full name of the service whose streams of requests parse for themselves; in those of others an empty
            message stands for junk.
        metrics: where refusals are counted.
    """

    def __init__(self, own: str, metrics: Metrics) -> None:
        self._own = f"/{own}/"
        self._metrics = metrics

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of a call, with its parsing guarded."""
        handler = await continuation(handler_call_details)
        if handler is None or (handler.request_streaming and handler_call_details.method.startswith(self._own)):
            return handler
        if handler.request_streaming:
            parse = _lenient(handler.request_deserializer)
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, parse, handler.response_serializer)
        parse = _guarded(handler.request_deserializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._checked(handler.unary_stream), parse, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            self._checked(handler.unary_unary), parse, handler.response_serializer
        )

    def _checked(self, serve: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def checked(request: Any, context: Any) -> Any:
            if isinstance(request, DecodeError):
                refused = Refused("MALFORMED", f"a message cannot be parsed: {request}")
                self._metrics.refused.labels("malformed").inc()
                carried = ((REFUSAL_KEY, refused.to_proto().SerializeToString()),)
                await context.abort(grpc.StatusCode[refused.status], refused.message, carried)
            return await serve(request, context)

        return checked


def _guarded(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def guarded(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return error

    return guarded


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def lenient(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return parse(b"")

    return lenient
