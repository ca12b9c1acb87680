"""RECEIVE it: the collector, where the frames of many runs become record files again.

Nothing is acked before it is on disk, nothing lost, nothing stored twice. What a frame holds
is never decoded, only checked. Layers, each knowing only those before it: refusal, limits,
identity, frames and session decide (no I/O, no clock but as an argument); appender, recovery
and store keep files; an engine makes durable (fileengine here, gateway by others); auth and metrics;
intake takes; stream, service and server speak grpc. Behind gateways stand consumers: logentry, sequence,
producerstate and lease decide, jetstream and pull speak to the log, partition and consumer keep.
Nothing is imported here, so that the parts without grpc load without it.
"""

__all__: list[str] = []
