"""A collector of several machines, with a NATS JetStream message log in the middle. No gRPC.

A `gateway` is a storage engine that publishes entries to the log. Consumers (`consumer`) share its partitions by
`leases`; the owner of a `partition` puts each producer's entries in sequence (`sequencer`), stores them in its own
folder, and moves the watermark (`producer_state`). Only `connection` imports nats.
"""

__all__: list[str] = []
