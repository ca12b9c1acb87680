"""A producer's client as a process: `python chaos_client.py RECORD STATE PORT_FILE FRAMES_PER_S [GO [keep]]`.

The file names one port or several. The client sends a record's frames, believes every ack, and after a kill goes on
behind what was acked last: a collector that acked what it lost is asked for a skip,
because an acked frame's spool is gone.
Where a file GO is named, the last frames wait until it exists: who kills things may take the time it needs.
With `keep` nothing is dropped from the spool, and everything behind what the collector has is sent again.
"""

import random
import sys
import time
from pathlib import Path

import grpc

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Publication, batch_message, open_stub

WINDOW = 64
KEPT_BACK = 20


class Client:
    """One producer and what it was promised."""

    def __init__(self, record: Path, state: Path, port_file: Path, rate: float, go: Path | None, *, keep: bool) -> None:
        self.go, self.keep, self.asked = go, keep, False
        self.state, self.port_file, self.pause = state, port_file, 1 / rate
        with RecordReader(record) as reader:
            header = merged_header(reader.header, reader.descriptor_sets)
            self.batches = [batch_message(ref, reader.read_raw(ref)) for ref in reader.frames()]
        self.schema = collector_pb2.Schema(fingerprint=schema_fingerprint(header), header=header)
        self.acked = int(state.read_text()) if state.exists() else 0

    @property
    def done(self) -> bool:
        return self.acked >= self.batches[-1].last_seq and (self.asked or not self.keep)

    def stream(self) -> None:
        """Send from where the collector is, to the end."""
        header = self.schema.header
        who = {"run_id": header.run_id, "producer_id": header.producer_id}
        with open_stub(int(random.choice(self.port_file.read_text().split()))) as stub:
            known = stub.GetWatermark(collector_pb2.GetWatermarkRequest(**who), timeout=10)
            first = 1 if self.keep else self.acked + 1
            hello = collector_pb2.Hello(
                min_protocol=1, max_protocol=1, session_epoch=known.session_epoch + 1,
                first_available_seq=first, schema_fingerprint=self.schema.fingerprint, **who,
            )  # fmt: skip
            stream = Publication(stub).send(hello)
            try:
                durable = stream.receive("welcome").durable_seq
                self.asked = True
                stream.send(self.schema)
                if self.keep:
                    self.acked = durable
                elif durable < self.acked:
                    lost = collector_pb2.SKIP_REASON_SPOOL_LOST
                    stream.send(collector_pb2.Skip(first_seq=durable + 1, last_seq=self.acked, reason=lost))
                self._send_frames(stream, max(durable, self.acked))
            finally:
                stream.cancel()

    def _send_frames(self, stream, after: int) -> None:
        """Send everything behind a number, at most a window ahead of the acks."""
        waiting = [batch for batch in self.batches if batch.first_seq > after]
        in_flight = []
        while waiting or in_flight:
            held = len(waiting) <= KEPT_BACK and self.go is not None and not self.go.exists()
            if waiting and not held and len(in_flight) < WINDOW:
                batch = waiting.pop(0)
                stream.send(batch)
                in_flight.append(batch.last_seq)
                time.sleep(self.pause)
            elif not in_flight:
                time.sleep(0.05)
            if len(in_flight) >= WINDOW // 2 or (in_flight and (held or not waiting)):
                self._believe(stream.receive("ack").durable_seq)
                in_flight = [last for last in in_flight if last > self.acked]

    def _believe(self, durable: int) -> None:
        if durable > self.acked:
            self.acked = durable
            fresh = self.state.with_suffix(".new")
            fresh.write_text(str(durable))
            fresh.replace(self.state)


def main() -> None:
    record, state, port_file = map(Path, sys.argv[1:4])
    go = Path(sys.argv[5]) if sys.argv[5:] else None
    client = Client(record, state, port_file, float(sys.argv[4]), go, keep=sys.argv[6:] == ["keep"])
    while not client.done:
        try:
            client.stream()
        except (grpc.RpcError, AssertionError):  # the collector was killed: an ended stream is no failure here
            time.sleep(0.02)


if __name__ == "__main__":
    main()
