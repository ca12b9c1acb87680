"""SEND it on: follows the record files of a run and streams their frames to a collector, byte for byte.

Layers, each importing only those before it: segment_frames (one segment, read forward, with the schema that it
announces), spool (one producer's segments as one sequence of frames), retry (what a status means, when to connect
again), terms (the messages), session (pure logic: no grpc, no clock, no file), endpoint (address and credentials),
client (grpc), delivery (one producer until all is durable), sender (all producers of a folder, one process).

The record file is the spool: nothing here writes to it. Only what the collector acknowledged as durable is ever
deleted, and only if the user asked for that.
"""
