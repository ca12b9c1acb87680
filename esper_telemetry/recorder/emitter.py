"""The hot path: from `emit(EventClass, **fields)` to bytes in the buffer.

What can be computed once per type and context is kept in a plan; what is filtered by level costs a dictionary
look-up; a payload is packed without building a message where its shape is known (schema/encoder.py). Everything
else leaves the hot path: a type seen first, a ready message, a call that gives its own context (schema/placed.py),
and what is no event at all, which is counted and reported once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.handle import revived_emitter, ticket_of
from esper_telemetry.schema import encode_context, event_type
from esper_telemetry.schema.encoder import UNSEEN, PayloadEncoders
from esper_telemetry.schema.misfit import is_misfit, is_of_this_line
from esper_telemetry.schema.placed import HOW, placed_encoders
from esper_telemetry.schema.shown import reason, shown, type_name
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.recorder.buffer import Plan
    from esper_telemetry.recorder.core import Core

# Under this name is counted what names no message at all: a text, None, a class that is no event.
NO_EVENT = "(no event)"

# Of an event that requires more than is bound: no call fits the hot path, each is asked for its context.
_CONTEXT_FIRST = PayloadEncoders(context_pb2.Context)


class Emitter:
    """Emits events of one run, with a context it adds to each.

    Threads may share an emitter; events of one thread keep their order. It may be copied and pickled as a Run may:
    in its own process and in forked ones a copy is the emitter itself.

    Args:
        core: of the run; None of one that is off.
        context: what is added to each event.
        root: the run's own emitter, which is kept alive: one that was bound is known to the run only from its second
            event on, because many are made for a single one, and being known costs as much as the event.
        run_class: of the run whose own emitter this is: what it becomes where it is unpickled.

    Attributes:
        error: why its context cannot be used; None if it can.
    """

    __slots__ = (
        "__weakref__",
        "_append",
        "_context",
        "_core",
        "_encoded",
        "_plans",
        "_root",
        "_run_class",
        "_used",
        "error",
    )

    def __init__(
        self,
        core: Core | None,
        context: dict[str, Any],
        root: Emitter | None = None,
        *,
        run_class: type[Any] | None = None,
    ) -> None:
        self._core = core
        self._context = context
        self._plans: dict[Any, Plan | None] = UNSEEN
        self.error: SchemaError | None = None
        try:
            self._encoded = encode_context(context)
        except SchemaError as error:
            if core is not None and core.strict:
                raise
            self._encoded = b""
            self.error = error
        self._append: Callable[[Plan, bytes], bool]
        self._root = root
        self._used = root is None
        if root is None:
            self._run_class = run_class
            if core is not None:
                self._append = core.adopt(self)

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={shown(value)}" for name, value in self._context.items() if value is not None)
        return f"<Emitter: {bound or 'no context'}{', off' if self._core is None else ''}>"

    def __copy__(self) -> Emitter:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Emitter:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Take along what `handle.py` needs; the values of a context that cannot be used stay behind."""
        root, context = self._root or self, self._context if self.error is None else {}
        return revived_emitter, (root._run_class, ticket_of(self._core), context, self.error)  # noqa: SLF001 - of the same class

    def bind(self, *wrong: object, **context: Any) -> Emitter:
        """Return an emitter that adds `context` to what this one adds.

        It is cheap enough for each step of a loop; a context that many events share is cheaper bound once, and one of
        a single event may be given in the call: `emit(Event, loss=0.5, step=7)`.

        Args:
            *wrong: nothing: a context has names.
            **context: fields of Context: env_id, device, episode, batch_idx, inner_epoch,
                global_epoch, episodes_completed, step, rank, group. None unsets one.

        Raises:
            SchemaError: only with strict=True; else the emitter's events are counted as invalid.
        """
        whole = {**self._context, **context} if self._context else context
        emitter = Emitter(self._core, whole, self._root or self)
        if wrong:
            emitter._spoil(SchemaError(f"bind was given {shown(wrong[0])}; give names, such as bind(env_id=0)"))
        return emitter

    def emit(self, event: type[Message] | Message | None = None, /, *wrong: object, **fields: Any) -> None:
        """Record one event; nothing is raised into the caller, and nothing waits for a device or a disk.

        An exception that arrives while it runs (of a signal handler, or set by another thread) is the caller's and goes
        on; the event is recorded then or it was not offered. A handler or finalizer that interrupts it may emit itself.

        Args:
            event: an event class, built here from `fields` if the level lets it pass. A ready message is accepted
                too (with fields of Context alone), but was neither filtered before it was built nor guarded.
            *wrong: nothing: fields have names. What is given here is reported, and the event counted as invalid.
            **fields: its fields, and those of Context that it has no field of its own for, which add to what is
                bound; None means not measured. Enums take numbers, names and labels as readers print them.

        Raises:
            SchemaError: only with strict=True, when a field is unknown, holds a tensor or does not fit.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        plans = self._plans
        try:
            plan = plans[event]
        except Exception as error:  # a type not seen yet, or a message or an object that cannot be hashed
            if not is_misfit(error):
                raise
            self._emit_first(event, wrong, fields)
            return
        if plan is None:  # filtered by its level
            if plans is UNSEEN:
                self._emit_first(event, wrong, fields)
            return
        if wrong:
            self._emit_any(plan, None, wrong, fields)
            return
        try:
            payload = plan.encoders[len(fields)](**fields)
        except TypeError as error:  # other names than those of the function of the moment
            if not is_of_this_line(error):
                raise
            payload = None
        if payload is None:
            self._emit_any(plan, None, wrong, fields)
            return
        self._append(plan, payload)

    def connect(self, append: Callable[[Plan, bytes], bool]) -> None:
        """Give events to `append` from now on."""
        self._append = append

    def forget_plans(self) -> None:
        """Make new plans at the next event: the level changed."""
        self._plans = UNSEEN

    def _emit_first(self, event: Any, wrong: tuple[object, ...], fields: Mapping[str, Any]) -> None:
        """Emit an event of a type that this emitter has not seen, or a ready message."""
        core = self._core
        if core is None:
            return
        message = None if isinstance(event, type) else event
        plan = self._first_plan(core, event if message is None else type(event), event)
        if plan is None:
            return
        payload = None
        if message is None and not wrong:
            try:
                payload = plan.encoders[len(fields)](**fields)
            except TypeError as error:  # as in `emit`
                if not is_of_this_line(error):
                    raise
        if payload is None:
            self._emit_any(plan, message, wrong, fields)
        else:
            self._append(plan, payload)

    def _emit_any(
        self, plan: Plan, message: Message | None, wrong: tuple[object, ...], fields: Mapping[str, Any]
    ) -> None:
        """Emit what the hot path did not: a ready message, a call with context, a misfit; or refuse it."""
        try:
            encoders = placed_encoders(plan.type.cls)
            payload, context = encoders.pack((message, wrong, fields), self._context, self._encoded)
        except Exception as error:
            if not is_misfit(error):
                raise
            self._reject(plan, error)
            return
        # A plan that waits for its context has none of the emitter's yet.
        bound = context is self._encoded and plan.encoders is not _CONTEXT_FIRST
        self._append(plan if bound else plan.within(context), payload)

    def _first_plan(self, core: Core, cls: Any, event: Any) -> Plan | None:
        """Return the plan of a type seen first; None if it is filtered or was refused."""
        level = core.level
        try:
            known = core.plans.get(cls)
            one = known.type if known is not None else event_type(cls)
        except Exception as error:
            if not is_misfit(error):
                raise
            core.reject(_name_of(cls), _no_event(event, error))
            return None
        plan: Plan | None = None
        if one.level <= level:
            if self.error is not None:
                core.reject(one.full_name, self.error)
                return None
            plan = known if known is not None else core.plan(cls, b"")
            if one.requires and placed_encoders(cls).lacking({}, self._context) is not None:
                plan = plan._replace(encoders=_CONTEXT_FIRST)
            elif self._encoded:
                plan = plan.within(self._encoded)
        if self._used:
            self._keep(core, cls, plan, level)
        else:
            self._used = True
            self._append = core.append
        return plan

    def _keep(self, core: Core, cls: Any, plan: Plan | None, level: int) -> None:
        """Keep the plan that was made at a level, and be notified of what changes it."""
        if self._plans is UNSEEN:
            self._append = core.adopt(self)
            self._plans = {cls: plan}
        else:
            self._plans[cls] = plan
        if core.level != level:  # changed by another thread while the plan was made
            self.forget_plans()

    def _spoil(self, error: SchemaError) -> None:
        """Refuse every event from now on."""
        if self._core is not None and self._core.strict:
            raise error
        self.error = error

    def _reject(self, plan: Plan, error: Exception) -> None:
        if self._core is not None:
            about = error.about if isinstance(error, SchemaError) else type_name(type(error))
            self._core.reject(plan.type.full_name, SchemaError(f"{plan.type.name}: {reason(error)}", about=about))


def _name_of(event: Any) -> str:
    """Return the full name of a message or its class; NO_EVENT for everything else."""
    cls: Any = event if isinstance(event, type) else type(event)
    try:
        name = cls.DESCRIPTOR.full_name
    except Exception as error:  # an object of the caller's own may fail at any question
        if not is_misfit(error):
            raise
        return NO_EVENT
    return name if type(name) is str else NO_EVENT


def _no_event(event: Any, error: Exception) -> SchemaError:
    """Return the error that the first argument of a call is no event, with the call that is meant."""
    if isinstance(error, SchemaError) and _name_of(event) != NO_EVENT:
        return error
    what = f"the class {type_name(event)}" if isinstance(event, type) else shown(event)
    return SchemaError(f"{what} is no event class; {HOW}", about=type_name(type(event)))
