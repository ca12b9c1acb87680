"""Calls of services that ask for no token (health, reflection) have places of their own.

Without it they would take those of callers that proved who they are: gRPC counts all calls of a server together. A call
beyond the budget ends with RESOURCE_EXHAUSTED, and is counted as refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esper_telemetry.collector.metrics import Metrics


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
            try:
                answers = serve(request, context)
                if hasattr(answers, "__aiter__"):
                    async for answer in answers:
                        await context.write(answer)
                else:  # it writes for itself
                    await answers
            finally:
                self._open -= 1

        return counted
