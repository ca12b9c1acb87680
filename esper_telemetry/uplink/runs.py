"""The runs at a collector: listed page by page, deleted by name. Blocking calls, one channel each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from esper_telemetry.errors import RecordError
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.uplink.endpoint import Endpoint

_PAGE_S = 60.0
# A run of many large files takes a slow disk a while, and what is begun is not undone.
_DELETE_S = 600.0
_LONGEST_MESSAGE = 8 << 20


def list_runs(endpoint: Endpoint, prefix: str = "") -> Iterator[collector_pb2.RunSummary]:
    """Yield the runs at a collector whose id starts with `prefix`, by id.

    Raises:
        ConfigError: a file of the endpoint cannot be read.
        RecordError: the collector does not answer, or refuses.
    """
    page = ""
    try:
        with endpoint.channel(max_receive_message_length=_LONGEST_MESSAGE) as channel:
            while True:
                request = collector_pb2.ListRunsRequest(prefix=prefix, page_size=1000, page_token=page)
                answer = _stub(channel).ListRuns(request, timeout=_PAGE_S, metadata=endpoint.metadata)
                yield from answer.runs
                page = answer.next_page_token
                if not page:
                    return
    except grpc.RpcError as error:
        raise _refused(endpoint, error) from None


def delete_run(endpoint: Endpoint, run_id: str) -> int:
    """Delete a run at a collector; return what its record files took, bytes.

    Raises:
        ConfigError: a file of the endpoint cannot be read.
        RecordError: the collector does not answer, or refuses: it is being written or read, there is none, ...
    """
    try:
        with endpoint.channel() as channel:
            request = collector_pb2.DeleteRunRequest(run_id=run_id)
            answer = _stub(channel).DeleteRun(request, timeout=_DELETE_S, metadata=endpoint.metadata)
            return int(answer.deleted_bytes)
    except grpc.RpcError as error:
        raise _refused(endpoint, error) from None


def _stub(channel: grpc.Channel) -> Any:
    return collector_pb2_grpc.CollectorStub(channel)  # type: ignore[no-untyped-call]


def _refused(endpoint: Endpoint, error: Any) -> RecordError:
    wrong = endpoint.misconfiguration() if error.code() is grpc.StatusCode.UNAVAILABLE else ""
    status = error.code().name.lower().replace("_", " ")
    return RecordError(wrong or f"the collector says {status}: {error.details()}", path=endpoint.address)
