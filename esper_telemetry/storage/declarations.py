"""What a segment of the collector declares, and what has to be added to it for the frames of another schema.

A producer declares a type when it first uses it, so its schema grows while it runs, and begins anew in each of its own
segments. Neither opens a segment here: a further header declares what is missing. Only what contradicts, an id with
another name or a file with another content, needs a segment of its own. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from esper_telemetry.storage.engine import PutSchema


class Declarations:
    """What the headers of one segment declare.

    Args:
        schema: that of its first header, which a reader can use.
    """

    def __init__(self, schema: PutSchema) -> None:
        self._types = {entry.type_id: entry.full_name for entry in schema.header.types}
        # The bytes are those of the schema, which all its producers share; they are taken apart when another one comes.
        self._descriptors = schema.descriptors
        self._files: dict[str, bytes] | None = None

    def add(self, schema: PutSchema) -> record_pb2.Header | None:
        """Take another schema and return what a further header has to declare: nothing, where all is there.

        Returns:
            Types and descriptors, without a file id; None if the schema contradicts what is declared: nothing is taken.
        """
        if any(self._types.get(entry.type_id, entry.full_name) != entry.full_name for entry in schema.header.types):
            return None
        if schema.descriptors.startswith(self._descriptors):  # it has grown, the usual case
            missing = schema.descriptors[len(self._descriptors) :]
            self._descriptors, self._files = schema.descriptors, None
        else:
            if self._files is None:
                self._files = _files(self._descriptors)
            files = _files(schema.descriptors)
            if any(self._files.get(name, content) != content for name, content in files.items()):
                return None
            new = {name: content for name, content in files.items() if name not in self._files}
            missing = descriptor_pb2.FileDescriptorSet(
                file=[descriptor_pb2.FileDescriptorProto.FromString(content) for content in new.values()]
            ).SerializeToString(deterministic=True)
            self._files.update(new)
            self._descriptors += missing
        header = record_pb2.Header(file_descriptor_set=missing)
        header.types.extend(entry for entry in schema.header.types if entry.type_id not in self._types)
        self._types.update((entry.type_id, entry.full_name) for entry in header.types)
        return header


def _files(descriptors: bytes) -> dict[str, bytes]:
    """Return the files of a serialized FileDescriptorSet by name."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
    return {file.name: file.SerializeToString(deterministic=True) for file in files}
