"""The hot path: from `emit(EventClass, **fields)` to bytes in the buffer.

What can be computed once per type and context is kept in a plan; what is filtered by level costs a dictionary
look-up; a payload is packed without building a message where its shape is known (schema/encoder.py). Everything
else leaves the hot path: a type seen first, a ready message, a call that says where it happened (schema/placed.py),
and what is no event at all, which is counted and said once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError, TelemetryError
from esper_telemetry.recorder.core import placed
from esper_telemetry.schema import encode_context, event_type
from esper_telemetry.schema.encoder import PayloadEncoders, serialized
from esper_telemetry.schema.placed import placed_encoders
from esper_telemetry.schema.shown import reason, shown, type_name
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.recorder.buffer import Plan
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.schema import EventType

# Under this name is counted what names no message at all: a text, None, a class that is no event.
NO_EVENT = "(no event)"
_HOW = "call emit(EventClass, field=value, ...), such as emit(events.ScalarLogged, name='loss', value=0.5)"

# Of an event that requires more than is bound: no call fits the hot path, each is asked for its context.
_CONTEXT_FIRST = PayloadEncoders(context_pb2.Context)


class Emitter:
    """Emits events of one run, with a context it adds to each.

    Threads may share an emitter; events of one thread keep their order.
    """

    __slots__ = ("__weakref__", "_adopted", "_append", "_context", "_core", "_encoded", "_error", "_plans")

    def __init__(self, core: Core | None, context: dict[str, Any]) -> None:
        self._core = core
        self._context = context
        self._plans: dict[Any, Plan | None] = {}
        self._append: Callable[[Plan, bytes], bool]
        self._adopted: bool | None = None
        self._error: SchemaError | None = None
        try:
            self._encoded = encode_context(context)
        except SchemaError as error:
            if core is not None and core.strict:
                raise
            self._encoded = b""
            self._error = error

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={shown(value)}" for name, value in self._context.items() if value is not None)
        return f"<Emitter: {bound or 'no context'}{', off' if self._core is None else ''}>"

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
        emitter = Emitter(self._core, {**self._context, **context} if self._context else context)
        if wrong:
            emitter._spoil(SchemaError(f"bind was given {shown(wrong[0])}; give names, such as bind(env_id=0)"))
        return emitter

    def emit(self, event: type[Message] | Message | None = None, /, *wrong: object, **fields: Any) -> None:
        """Record one event; nothing is raised into the caller, and nothing waits for a device or a disk.

        Args:
            event: an event class, built here from `fields` if the level lets it pass. A ready message is accepted
                too (with fields of Context alone), but was neither filtered before it was built nor guarded.
            *wrong: nothing: fields have names. What is given here is said, and the event counted as invalid.
            **fields: its fields, and those of Context that it has no field of its own for, which add to what is
                bound; None means not measured. Enums take numbers, names and labels as readers print them.

        Raises:
            SchemaError: only with strict=True, when a field is unknown, holds a tensor or does not fit.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        try:
            plan = self._plans[event]
        except (KeyError, TypeError):  # a type not seen yet, or a message: messages are not hashable
            plan = self._first_plan(event, wrong, fields)
        except Exception:
            if type(event).__hash__ is object.__hash__:
                raise  # it came from elsewhere, a signal handler perhaps: it is the caller's
            plan = self._first_plan(event, wrong, fields)  # an object that fails when it is hashed
        if plan is None:
            return
        if wrong:
            self._reject(plan, _unnamed(wrong))
            return
        try:
            payload = plan.encoders[len(fields)](**fields)
        except TypeError:  # other names than those of the function of the moment
            payload = None
        if payload is None:
            self._emit_otherwise(plan, fields)
            return
        self._append(plan, payload)

    def connect(self, append: Callable[[Plan, bytes], bool]) -> None:
        """Give events to `append` from now on."""
        self._append = append

    def forget_plans(self) -> None:
        """Make new plans at the next event: the level changed."""
        self._plans = {}

    def _first_plan(self, event: Any, wrong: tuple[object, ...], fields: Mapping[str, Any]) -> Plan | None:
        """Return the plan of a type seen first; None if the event was dealt with here."""
        core = self._core
        if core is None:
            return None
        level = core.level
        ready = not isinstance(event, type)
        known = self._known_plan(core, type(event) if ready else event, event, level)
        if known is None:
            return None
        if ready:
            self._emit_ready(known, event, wrong, fields)
            return None
        plan = placed(known, self._encoded) if self._encoded else known
        if known.type.requires and self._lacking(known.type, {}) is not None:
            plan = known._replace(encoders=_CONTEXT_FIRST)
        self._keep(core, event, plan, level)
        return plan

    def _known_plan(self, core: Core, cls: Any, event: Any, level: int) -> Plan | None:
        """Return how events of a class are emitted without context; None if they are filtered or were refused."""
        try:
            known = core.plans.get(cls)
            one = known.type if known is not None else event_type(cls)
        except Exception as error:  # noqa: BLE001 - a class of the caller's own may fail at any question
            core.reject(_name_of(cls), _no_event(event, error))
            return None
        if one.level > level:
            self._keep(core, cls, None, level)
            return None
        if self._error is not None:
            core.reject(one.full_name, self._error)
            return None
        self._append = core.append
        return known if known is not None else core.plan(cls, b"")

    def _keep(self, core: Core, cls: Any, plan: Plan | None, level: int) -> None:
        """Keep a plan from the second event on: most emitters of a step are made for a single one.

        One that keeps plans has to hear of what changes them, which costs as much as the plan.
        """
        if self._adopted is None:
            self._adopted = False
            return
        if not self._adopted:
            core.adopt(self)
            self._adopted = True
            self._append = core.append
        self._plans[cls] = plan
        if core.level != level:  # changed by another thread while the plan was made
            self.forget_plans()

    def _lacking(self, one: EventType, fields: Mapping[str, Any]) -> str | None:
        """Return a field of Context that a type requires and neither the call nor what is bound gives."""
        for name in one.requires:
            if fields.get(name, self._context.get(name)) is None:
                return name
        return None

    def _emit_otherwise(self, plan: Plan, fields: Mapping[str, Any]) -> None:
        """Emit what the function of the moment did not pack: another shape, a call with context, a misfit."""
        try:
            if plan.type.requires:
                self._check_context(plan.type, fields)
            payload, context = placed_encoders(plan.type.cls).encode(fields, self._context, self._encoded)
        except Exception as error:  # noqa: BLE001 - whatever a value does when looked at stays out of the trainer
            self._reject(plan, error)
            return
        self._append(plan if context is self._encoded else placed(plan, context), payload)

    def _emit_ready(self, known: Plan, message: Message, wrong: tuple[object, ...], fields: Mapping[str, Any]) -> None:
        """Emit a message that the caller has built."""
        try:
            if wrong:
                raise _unnamed(wrong)
            others = sorted(fields.keys() - placed_encoders(known.type.cls).names) if fields else []
            if others:
                raise SchemaError(f"a ready message takes no fields, and was given {shown(others[0])}: set it before")
            self._check_context(known.type, fields)
            context = encode_context({**self._context, **fields}) if fields else self._encoded
            payload = serialized(message)
        except TelemetryError as error:
            self._reject(known, error)
            return
        self._append(placed(known, context), payload)

    def _check_context(self, one: EventType, fields: Mapping[str, Any]) -> None:
        """Raise SchemaError if what a type requires is neither bound nor given in the call."""
        lacking = self._lacking(one, fields)
        if lacking is not None:
            raise SchemaError(
                f"it requires {lacking} in its context; use run.bind({lacking}=...).emit(...), or give {lacking}= in"
                " the call",
                about=f"requires {lacking}",
            )

    def _spoil(self, error: SchemaError) -> None:
        """Refuse every event from now on."""
        if self._core is not None and self._core.strict:
            raise error
        self._error = error

    def _reject(self, plan: Plan, error: Exception) -> None:
        if self._core is not None:
            about = error.about if isinstance(error, SchemaError) else type(error).__name__
            self._core.reject(plan.type.full_name, SchemaError(f"{plan.type.name}: {reason(error)}", about=about))


def _name_of(event: Any) -> str:
    """Return the full name of a message or its class; NO_EVENT for everything else."""
    cls: Any = event if isinstance(event, type) else type(event)
    try:
        name = cls.DESCRIPTOR.full_name
    except Exception:  # noqa: BLE001 - an object of the caller's own may fail at any question
        return NO_EVENT
    return name if type(name) is str else NO_EVENT


def _unnamed(wrong: tuple[object, ...]) -> SchemaError:
    return SchemaError(f"it was given {shown(wrong[0])} without a name; {_HOW}", about="no name")


def _no_event(event: Any, error: Exception) -> SchemaError:
    """Return the error that the first argument of a call is no event, with the call that is meant."""
    if isinstance(error, SchemaError) and _name_of(event) != NO_EVENT:
        return error
    what = f"the class {type_name(event)}" if isinstance(event, type) else shown(event)
    return SchemaError(f"{what} is no event class; {_HOW}", about=type_name(type(event)))
