"""SEND it on: follows the record files of a run and streams their frames to a collector, as they stand.

Layers, each knowing only those before it: schema (what a stream announces), frames (one segment, read
forward), spool (one producer's segments), verdict (what a status means), session (pure logic: no grpc,
no clock, no file), client (grpc), agent (a run folder's producers, one process).

The record file is the spool: nothing here writes to it, and only what the collector calls
durable is ever deleted, and only if the user asked for that. grpc is imported in client alone.
"""
