"""The hot path: from `emit(EventClass, **fields)` to bytes in the buffer.

What can be computed once per type and context is kept in a plan; what is filtered by
level costs a dictionary look-up; a payload is packed without building a message where
its shape is known (schema/encoder.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError, TelemetryError
from esper_telemetry.recorder.misfit import is_misfit, is_of_this_line
from esper_telemetry.schema import encode_context, event_type

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from esper_telemetry.recorder.buffer import Plan
    from esper_telemetry.recorder.core import Core


class Emitter:
    """Emits events of one run, with a context it adds to each.

    Threads may share an emitter; events of one thread keep their order.
    """

    __slots__ = ("__weakref__", "_append", "_context", "_core", "_encoded", "_error", "_plans")

    def __init__(self, core: Core | None, context: dict[str, Any]) -> None:
        self._core = core
        self._context = context
        self._plans: dict[Any, Plan | None] = {}
        self._encoded = b""
        self._error: SchemaError | None = None
        try:
            self._encoded = encode_context(context)
        except SchemaError as error:
            if core is not None and core.strict:
                raise
            self._error = error
        if core is not None:
            self._append = core.append
            core.adopt(self)

    def bind(self, **context: Any) -> Emitter:
        """Return an emitter that adds `context` to what this one adds.

        Args:
            **context: fields of Context: env_id, device, episode, batch_idx, inner_epoch,
                global_epoch, episodes_completed, step, rank, group. None unsets one.

        Raises:
            SchemaError: only with strict=True; else the emitter's events are counted as invalid.
        """
        return Emitter(self._core, {**self._context, **context})

    def emit(self, event: type[Message] | Message, /, **fields: Any) -> None:
        """Record one event; nothing is raised into the caller, and nothing waits for a device or a disk.

        An exception that arrives while it runs (of a signal handler, or set by another thread) is the caller's and goes
        on; the event is recorded then or it was not offered. A handler or finalizer that interrupts it may emit itself.

        Args:
            event: an event class, built here from `fields` if the level lets it pass. A ready
                message is accepted too, but was neither filtered before it was built nor guarded.
            **fields: its fields; None means not measured.

        Raises:
            SchemaError: only with strict=True, when a field is unknown, holds a tensor or does not fit.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        try:
            plan = self._plans[event]
        except (KeyError, TypeError) as error:  # a type not seen yet, or a message: messages are not hashable
            if not is_of_this_line(error):
                raise
            plan = self._first_plan(event)
        if plan is None:
            return
        encoders = plan.encoders
        try:
            payload = encoders[len(fields)](**fields)
        except TypeError as error:
            if not is_of_this_line(error):
                raise
            payload = None
        if payload is None:
            try:
                payload = encoders.encode_any(fields)
            except Exception as error:
                if not is_misfit(error):
                    raise
                self._reject(plan, error)
                return
        self._append(plan, payload)

    def forget_plans(self) -> None:
        """Make new plans at the next event: the level changed."""
        self._plans = {}

    def _first_plan(self, event: Any) -> Plan | None:
        """Return the plan of a type seen first, or record a ready message and return None."""
        core = self._core
        if core is None:
            return None
        if isinstance(event, type):
            return self._make_plan(core, event)
        plan = self._plans.get(type(event)) or self._make_plan(core, type(event))
        if plan is not None:
            self._append(plan, event.SerializeToString())
        return None

    def _reject(self, plan: Plan, error: Exception) -> None:
        if self._core is not None:
            self._core.reject(plan.type.full_name, _explained(error, plan))

    def _make_plan(self, core: Core, cls: Any) -> Plan | None:
        """Return the plan of a type, or None if it is filtered; an event that can never be emitted is counted."""
        plans = self._plans  # a level that changes meanwhile replaces them
        try:
            one = event_type(cls)
            if not core.wants(one):
                plans[cls] = None
                return None
            if self._error is not None:
                raise self._error
            missing = sorted(name for name in one.requires if self._context.get(name) is None)
            if missing:
                raise SchemaError(
                    f"{one.name} requires {missing[0]} in its context; use run.bind({missing[0]}=...).emit(...)"
                )
            plan = plans[cls] = core.plan(cls, self._encoded)
        except (TypeError, TelemetryError) as error:
            if not is_misfit(error):
                raise
            name = getattr(getattr(cls, "DESCRIPTOR", None), "full_name", None) or repr(cls)
            core.reject(str(name), error)
            return None
        return plan


def _explained(error: Exception, plan: Plan) -> Exception:
    """Return protobuf's error as ours, naming the event."""
    if isinstance(error, TelemetryError):
        return error
    fields = ", ".join(field.name for field in plan.type.cls.DESCRIPTOR.fields)
    return SchemaError(f"{plan.type.name}: {error}; its fields are {fields}")
