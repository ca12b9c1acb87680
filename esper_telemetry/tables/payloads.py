"""Serialized messages of one type to columns: by ptars where it is installed, else one by one.

ptars decodes a whole array at once and refuses it whole if one payload is damaged; such an array is decoded one by
one, so that a damaged payload costs its own row's fields and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.tables import rowwise
from esper_telemetry.tables.columntypes import column_type
from esper_telemetry.tables.conversion import converted

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

ptars: Any
try:
    import ptars
except ImportError:
    ptars = None  # the slow way does the same
# What ptars and the conversion of its arrays may raise on bytes or types that they do not take.
_REFUSALS = (ValueError, TypeError, KeyError, IndexError, NotImplementedError, AttributeError, CorruptRecordError)


def whole_decoder(descriptor: Descriptor, pools: dict[str, Any] | None = None) -> Any:
    """Return what turns an array of serialized messages into a record batch; None where ptars is missing or refuses.

    Args:
        descriptor: the message.
        pools: decoders by name of .proto file, shared by the types of one schema; it grows.
    """
    if ptars is None:
        return None
    known = {} if pools is None else pools
    file = descriptor.file
    try:
        if file.name not in known:
            known[file.name] = ptars.HandlerPool([file])
        return known[file.name].get_for_message(descriptor).array_to_record_batch
    except _REFUSALS:  # a feature of protobuf that it does not know
        return None


class PayloadDecoder:
    """Decodes the payloads of one type. Not for use by two threads at once.

    Args:
        cls: class of the messages, made from the descriptors of the record.
        pools: as for `whole_decoder`.
        fast: use ptars where it is installed.

    Attributes:
        names: the fields, in the order of declaration.
        types: the type of each column.
        refused: payloads so far that do not fit the type; all their columns are NULL.
    """

    def __init__(self, cls: type[Message], pools: dict[str, Any] | None = None, *, fast: bool = True) -> None:
        descriptor: Any = cls.DESCRIPTOR
        self._cls = cls
        self._descriptor = descriptor
        self.names = [field.name for field in descriptor.fields]
        self.types = [column_type(field) for field in descriptor.fields]
        self.refused = 0
        self._decode = whole_decoder(descriptor, pools) if fast else None
        if self._decode is not None and not self._fits():
            self._decode = None

    @property
    def fast(self) -> bool:
        """Whether ptars decodes whole arrays."""
        return self._decode is not None

    def columns(self, payloads: pa.Array) -> list[pa.Array]:
        """Return a column for each field from a binary array of serialized messages."""
        if self._decode is not None:
            try:
                return self._converted(payloads)
            except _REFUSALS:
                pass
        messages = rowwise.parsed(payloads.to_pylist(), self._cls)
        self.refused += messages.count(None)
        return rowwise.columns(messages, self._descriptor)

    def _converted(self, payloads: pa.Array) -> list[pa.Array]:
        assert self._decode is not None  # noqa: S101 - asked before
        batch = self._decode(payloads)  # its columns are in the order of field numbers
        return [converted(batch.column(field.name), field) for field in self._descriptor.fields]

    def _fits(self) -> bool:
        """Tell whether the conversion gives the types that the schema promises, asked with an array without rows."""
        try:
            return [column.type for column in self._converted(pa.array([], pa.binary()))] == self.types
        except _REFUSALS:
            return False
