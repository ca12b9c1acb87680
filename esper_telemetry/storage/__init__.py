"""Storage: frames of many producers become durable in record files.

An `engine` takes frames in order and reports what is durable. The `file_engine` of this package claims a folder, has it
brought into order (`recovery`), and hands frames to the writer thread (`store`), which appends them to the segments of
each producer (`producer_files`, `segment_writer`). The package knows neither gRPC nor NATS, decides nothing about
streams, and never decodes an event.
"""

__all__: list[str] = []
