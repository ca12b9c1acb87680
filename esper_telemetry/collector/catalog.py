"""The runs a collector knows, as ListRuns shows them. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.producer import Producer

_PAGE, _LONGEST_PAGE = 100, 1000


def list_runs(
    producers: Iterable[Producer], request: collector_pb2.ListRunsRequest, tenant: Tenant
) -> collector_pb2.ListRunsResponse:
    """Return a page of the runs that `tenant` may see, by run id."""

    def shown(run_id: str) -> bool:
        mine = run_id.startswith(request.prefix) and run_id.startswith(tenant.run_prefix)
        return mine and run_id > request.page_token

    chosen = sorted((each for each in producers if shown(each.key.run_id)), key=lambda each: each.key.run_id)
    answer = collector_pb2.ListRunsResponse()
    limit = min(request.page_size or _PAGE, _LONGEST_PAGE)
    for run_id, members in groupby(chosen, key=lambda each: each.key.run_id):
        if len(answer.runs) == limit:
            answer.next_page_token = answer.runs[-1].run_id
            break
        answer.runs.append(_run(run_id, list(members)))
    return answer


def _run(run_id: str, members: list[Producer]) -> collector_pb2.RunSummary:
    summaries = sorted(map(_producer, members), key=lambda each: (each.rank, each.started_unix_nano, each.producer_id))
    name = next((each.schema.header.run_name for each in members if each.schema is not None), "")
    return collector_pb2.RunSummary(run_id=run_id, run_name=name, producers=summaries)


def _producer(producer: Producer) -> collector_pb2.ProducerSummary:
    header = producer.schema.header if producer.schema is not None else None
    return collector_pb2.ProducerSummary(
        producer_id=producer.key.producer_id,
        rank=header.rank if header else 0,
        stream=header.stream if header else "",
        host=header.host if header else "",
        durable_seq=producer.ledger.durable_seq,
        stored_bytes=producer.stored_bytes,
        connected=producer.listener is not None,
        outcome=collector_pb2.CloseOutcome.Name(producer.outcome),
        started_unix_nano=header.anchor_unix_nano if header else 0,
        last_seen_unix_nano=producer.last_seen_ns,
        labels=producer.labels,
    )
