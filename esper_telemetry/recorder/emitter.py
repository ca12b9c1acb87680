"""The hot path: from `emit(EventClass, **fields)` to the call's own fields in the buffer.

What can be computed once per type, context and shape of call is kept (plans.py); what is filtered by level costs two
dictionary look-ups. A call whose names and types are known is kept as it is, after a look at its values where their
types do not suffice; nothing is built, packed or serialized in the thread that emits. Everything else leaves the hot
path: a type or shape seen first, a ready message, values that must be converted or serialized at once
(schema/call_shapes.py), and what is no event at all, which is counted and reported once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.handle import revived_emitter, ticket_of
from esper_telemetry.recorder.ledger import TOO_LARGE
from esper_telemetry.recorder.plans import NO_CONTEXT, NOWHERE, OFF, flat, whole_of
from esper_telemetry.schema import MAX_EVENT_BYTES
from esper_telemetry.schema.call_shapes import CONTEXT_SHAPES, HOW
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.schema.shown import reason, shown, type_name
from esper_telemetry.schema.value_checks import LONGEST_TEXTS

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.plans import KnownType
    from esper_telemetry.schema import EventType

# Under this name is counted what names no message at all: a text, None, a class that is no event.
NO_EVENT = "(no event)"
# Bytes of an event beside its payload and its context.
_ENVELOPE = 64


class Emitter:
    """Emits events of one run, with a context it adds to each.

    Threads may share an emitter; events of one thread keep their order. It may be copied and pickled as a Run may:
    in its own process and in forked ones a copy is the emitter itself.

    Args:
        core: of the run; None of one that is off.
        run_class: of the run.

    Attributes:
        error: why its context cannot be used; None if it can.
    """

    __slots__ = ("__weakref__", "_context", "_core", "_root", "_run_class", "_where")
    error: SchemaError | None = None

    def __init__(self, core: Core | None, *, run_class: type[Any] | None = None) -> None:
        self._core = core
        self._context, self._where = (OFF, NOWHERE) if core is None else core.placed({})
        self._root: Emitter | None = None  # of one that was bound: the run's own, which is kept alive
        self._run_class = run_class
        if core is not None:
            core.adopt(self)

    def __repr__(self) -> str:
        bound = ", ".join(
            f"{name}={shown(value)}" for name, value in whole_of(self._where).items() if value is not None
        )
        return f"<Emitter: {bound or 'no context'}{', off' if self._core is None else ''}>"

    def __copy__(self) -> Emitter:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Emitter:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Take along what `handle.py` needs; the values of a context that cannot be used stay behind."""
        root = self._root or self
        return revived_emitter, (root._run_class, ticket_of(self._core), whole_of(self._where), self.error)  # noqa: SLF001 - of the same class

    def bind(self, *wrong: object, **context: Any) -> Emitter:
        """Return an emitter that adds `context` to what this one adds.

        It costs less than an event, and may be called at each step of a loop. A context of a single event may be
        given in the call as well: `emit(Event, loss=0.5, step=7)`.

        Args:
            *wrong: nothing: a context has names.
            **context: fields of Context: env_id, device, episode, batch_idx, inner_epoch,
                global_epoch, episodes_completed, step, rank, group. None unsets one.

        Raises:
            SchemaError: only with strict=True; else the emitter's events are counted as invalid.
        """
        try:
            join, plans = self._context.steps[len(context)]
            where = join(context, self._where)
        except Exception as error:  # so many names were not bound before
            if not is_misfit(error):
                raise
            where = None
        if where is None or wrong:
            return self._bind_any(wrong, context)
        emitter: Emitter = _Bound()
        emitter._core = self._core
        emitter._context = plans
        emitter._root = self._root or self
        # The writer thread joins the two layers. More of them would grow with each step of a loop that binds anew.
        emitter._where = where if where[0][0] is None else flat(whole_of(where), where[1])
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
        try:
            calls = self._context.calls[event]
            if calls is None:  # filtered by its level
                return
            kind = calls[len(fields)]
            extra = kind.check(fields)
        except Exception as error:  # a type or a shape not seen often, a message, an object that cannot be hashed
            if not is_misfit(error):
                raise
            extra = -1
        if extra < 0 or wrong:
            self._emit_any(event, wrong, fields)
            return
        # As Buffer.append does it; the call alone would be a tenth of all this.
        where, buffer = self._where, self._core.open_buffer  # type: ignore[union-attr]  # there is one where a kind is
        room = kind.held + extra if where is buffer.where else kind.held + extra + where[1]
        size = buffer.stored + room
        if size > buffer.bound:
            self._core.append(kind, where, fields, extra)  # type: ignore[union-attr]
        else:
            buffer.stored = size
            buffer.where = where
            buffer.extend((kind, where, buffer.monotonic_ns(), fields, room))

    def spoiled(self, error: SchemaError) -> Emitter:
        """Return an emitter that refuses every event.

        Raises:
            SchemaError: with strict=True.
        """
        core = self._core
        if core is not None and core.strict:
            raise error
        emitter = _new(_Spoiled)
        emitter._core, emitter._root, emitter._where = core, self._root or self, self._where  # noqa: SLF001 - of the same class
        emitter._context = OFF if core is None else core.fresh_plans(NO_CONTEXT)  # noqa: SLF001
        emitter.error = error
        return emitter

    def _bind_any(self, wrong: tuple[object, ...], context: dict[str, Any]) -> Emitter:
        """Bind a context of a shape that has not come often, or one that cannot be used."""
        core, whole = self._core, {**whole_of(self._where), **context}
        if self.error is not None:
            return self.spoiled(self.error)
        if wrong:
            return self.spoiled(SchemaError(f"bind was given {shown(wrong[0])}; give names, such as bind(env_id=0)"))
        try:
            if core is None:
                plans, where = OFF, flat(CONTEXT_SHAPES.row(whole).values, 0)
            else:
                plans, where = core.placed(whole)
                core.learn_step(self._context, context, plans)
        except SchemaError as error:
            return self.spoiled(error)
        emitter: Emitter = _Bound()
        emitter._core, emitter._root, emitter._context, emitter._where = core, self._root or self, plans, where
        return emitter

    def _emit_any(self, event: Any, wrong: tuple[object, ...], fields: dict[str, Any]) -> None:
        """Emit what the hot path did not: the first of a type or a shape, a ready message, a misfit; or refuse it."""
        core = self._core
        if core is None:
            return
        cls: Any = event if isinstance(event, type) else type(event)
        level = core.level
        try:
            known = core.known(cls)
        except Exception as error:
            if not is_misfit(error):
                raise
            core.reject(_name_of(cls), _no_event(event, error))
            return
        if known.type.level > level:
            self._context.calls[cls] = None
            core.forget_if_changed(level)
        elif self.error is not None:
            core.reject(known.type.full_name, self.error)
        else:
            self._emit_known(core, known, (None if event is cls else event, wrong, fields), level)

    def _emit_known(
        self, core: Core, known: KnownType, call: tuple[Message | None, tuple[object, ...], dict[str, Any]], level: int
    ) -> None:
        plans, where, fields = self._context, self._where, call[2]
        try:
            bound = whole_of(where)
            row = known.shapes.take(*call, bound)
            if row.where is not None:
                plans, where = core.placed({**bound, **row.where})
        except Exception as error:
            if not is_misfit(error):
                raise
            self._reject(core, known.type, error)
            return
        texts = where[1] - plans.held
        if row.extra + texts + _ENVELOPE > MAX_EVENT_BYTES:
            core.buffer.refuse(known.type.full_name, TOO_LARGE)
            core.check_sink()
            return
        plan = plans.plan(known, keep=texts <= LONGEST_TEXTS)
        kind = plan.use(row.shape) if row.values is fields else plan.kind(row.shape)
        core.forget_if_changed(level)
        core.append(kind, where, row.values, row.extra)

    @staticmethod
    def _reject(core: Core, one: EventType, error: Exception) -> None:
        about = error.about if isinstance(error, SchemaError) else type_name(type(error))
        core.reject(one.full_name, SchemaError(f"{one.name}: {reason(error)}", about=about))


class _Bound(Emitter):
    """What `bind` returns. It is filled by the emitter that makes it: a constructor would cost twice as much."""

    __slots__ = ()
    __init__ = object.__init__  # what makes an object at once, in C


class _Spoiled(Emitter):
    """Refuses every event, because of what was bound."""

    __slots__ = ("error",)


_new = object.__new__


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
