"""The collector: a gRPC server that receives the frames of many runs and has them made durable.

An ack follows an fsync; nothing is stored twice; what a frame holds is never decoded, only checked. `service` answers
the calls and `stream` serves one Publish stream. `intake` takes messages in order: `session` decides by sequence
numbers, `frame_check` and `schema_check` by content, `auth` and `quotas` by caller, and an engine of `storage` or
`jetstream` makes durable what was taken. `subscription` and `queries` serve readers. `server` is the process. Nothing
is imported here, so that the parts without grpc load without it.
"""

__all__: list[str] = []
