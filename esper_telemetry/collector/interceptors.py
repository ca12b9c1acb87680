"""What happens to each call before its handler: malformed requests are refused, calls without a token are counted.

gRPC answers bytes that are no message with UNKNOWN and a traceback in the log, with or without a token.
Services that ask for no token (health, reflection) have a budget of calls of their own: gRPC counts all calls of a
server together, so they would take the places of callers that proved who they are.
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


class CallLimit(aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Bounds the calls of all services together, and counts what gRPC would refuse without a word.

    gRPC has an option for it, which counts nothing and names no bound. It also answers methods that do not exist.

    Args:
        limit: calls at once.
        metrics: where refusals are counted.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._open = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of a call, counted while it runs."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.grpc_refused.labels("method").inc()
            return None
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            serve = getattr(handler, kind)
            if serve is not None:
                make = getattr(grpc, f"{kind}_rpc_method_handler")
                return make(self._counted(serve), handler.request_deserializer, handler.response_serializer)
        return handler

    def _counted(self, serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def counted(request: Any, context: Any) -> Any:
            if self._open >= self._limit:
                self._metrics.grpc_refused.labels("calls").inc()
                message = f"{self._open} calls are open: no more may be; come back later"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            self._open += 1
            try:
                return await serve(request, context)
            finally:
                self._open -= 1

        return counted


class Malformed(aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Parses the requests of all services; what cannot be parsed ends with INVALID_ARGUMENT.

    Args:
        own: full name of the service whose streams of requests parse for themselves; in those of others an empty
            message replaces one that cannot be parsed.
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


class CallBudget(aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Counts the streaming calls of every service but one.

    Args:
        own: full name of the service that counts its calls itself.
        limit: calls at once.
        metrics: where refusals are counted.
    """

    def __init__(self, own: str, limit: int, metrics: Metrics) -> None:
        self._own = f"/{own}/"
        self._limit = limit
        self._metrics = metrics
        self._open = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of a call, with its streams counted."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(self._own):
            return handler
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._counted(handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                self._counted(handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        return handler

    def _counted(self, serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[None]]:
        async def counted(request: Any, context: Any) -> None:
            if self._open >= self._limit:
                self._metrics.refused.labels("streams").inc()
                message = f"{self._open} calls without a token are open: no more may be; use Check, come back later"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            self._open += 1
            self._metrics.watches.set(self._open)
            try:
                answers = serve(request, context)
                if hasattr(answers, "__aiter__"):
                    async for answer in answers:
                        await context.write(answer)
                else:  # it writes for itself
                    await answers
            finally:
                self._open -= 1
                self._metrics.watches.set(self._open)

        return counted
