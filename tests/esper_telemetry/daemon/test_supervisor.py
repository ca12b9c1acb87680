import asyncio
import gc
import logging
import threading

import pytest

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.metrics_port import MetricSet
from esper_telemetry.daemon.supervisor import Supervisor, end_tasks, run_until_signal, unless_asked
from esper_telemetry.errors import SinkError


def failures(metrics: MetricSet, name: str) -> float:
    return metrics.registry.get_sample_value("test_task_failures_total", {"task": name})


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is a plain list that a duty fills
        await asyncio.sleep(0.001)


def test_a_duty_that_fails_is_logged_once_counted_and_done_again(caplog):
    metrics, dead = MetricSet("test_"), []

    async def scenario():
        turns = []

        async def turn() -> None:
            turns.append(1)
            if len(turns) < 4:
                raise TypeError("a value of a wrong kind")

        failing = TaskFailures(logging.getLogger("duties"), metrics.task_failures, metrics.task_failing)
        supervisor = Supervisor(failing, dead.append)
        supervisor.every(0.001, "watch", turn)
        assert failures(metrics, "watch") == 0
        await until(lambda: len(turns) == 2)
        await asyncio.sleep(0)
        assert failing.failing() == {"watch": "TypeError: a value of a wrong kind"}
        await until(lambda: len(turns) > 5)
        assert not failing.failing()
        await supervisor.end()

    asyncio.run(scenario())
    assert failures(metrics, "watch") == 3
    assert not dead
    assert [record.getMessage() for record in caplog.records] == [
        "watch failed and is tried again: TypeError: a value of a wrong kind",
        "watch works again",
    ]


@pytest.mark.parametrize(("error", "traced"), [(OSError(24, "Too many open files"), False), (TypeError("a bug"), True)])
def test_what_the_system_refused_a_duty_is_one_line_and_a_bug_has_its_place(error, traced, caplog):
    async def scenario():
        async def turn() -> None:
            raise error

        supervisor = Supervisor(TaskFailures(logging.getLogger("duties")), [].append)
        supervisor.every(0.001, "watch", turn)
        await until(lambda: caplog.records)
        await supervisor.end()

    asyncio.run(scenario())
    assert ("Traceback" in caplog.text) == traced


@pytest.mark.parametrize("error", [None, ValueError("broken"), KeyboardInterrupt])
def test_a_task_that_ends_though_it_must_not_is_told(error, caplog):
    metrics, dead = MetricSet("test_"), []

    async def scenario():
        async def work() -> None:
            if error is not None:
                raise error

        supervisor = Supervisor(TaskFailures(logging.getLogger("duties"), metrics.task_failures), dead.append)
        supervisor.keep("publisher", work())
        await until(lambda: dead)
        await supervisor.end()

    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(scenario())
        return
    asyncio.run(scenario())
    assert dead == [f"publisher has ended: {error!r}"]
    assert failures(metrics, "publisher") == 1
    assert "publisher has ended" in caplog.text


def test_the_end_of_a_supervisor_is_no_death():
    metrics, dead = MetricSet("test_"), []

    async def scenario():
        supervisor = Supervisor(TaskFailures(logging.getLogger("duties"), metrics.task_failures), dead.append)
        supervisor.keep("publisher", asyncio.sleep(3600))
        supervisor.every(3600, "watch", lambda: asyncio.sleep(0))
        await asyncio.sleep(0)
        await supervisor.end()

    asyncio.run(scenario())
    assert not dead
    assert failures(metrics, "publisher") == failures(metrics, "watch") == 0


def test_work_goes_on_to_its_end_unless_somebody_asks_to_stop():
    async def scenario():
        asked = asyncio.Event()
        assert await unless_asked(asked, asyncio.sleep(0))
        asyncio.get_running_loop().call_later(0.01, asked.set)
        assert not await unless_asked(asked, asyncio.sleep(3600))

    asyncio.run(scenario())


def test_a_task_that_forgets_a_cancellation_is_ended_all_the_same():
    forgotten = []

    async def forgetful() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                forgotten.append(1)
                if len(forgotten) == 3:
                    raise

    async def scenario():
        tasks = [asyncio.create_task(forgetful()), asyncio.create_task(asyncio.sleep(3600))]
        await asyncio.sleep(0)
        await end_tasks(tasks)
        assert all(task.cancelled() for task in tasks)
        await end_tasks([])

    asyncio.run(scenario())
    assert len(forgotten) == 3


def test_who_ends_tasks_and_is_ended_meanwhile_leaves_none_behind():
    async def scenario():
        stubborn = asyncio.create_task(forgets_cancellations(3))

        async def owner() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await end_tasks([stubborn])

        owning = asyncio.create_task(owner())
        await asyncio.sleep(0)
        await end_tasks([owning])
        assert owning.cancelled()
        assert stubborn.done()

    async def forgets_cancellations(times: int) -> None:
        for _ in range(times + 1):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    asyncio.run(scenario())


def test_a_duty_that_hangs_is_overdue_and_the_others_are_not(monkeypatch):
    metrics = MetricSet("test_")

    async def scenario():
        monkeypatch.setattr("esper_telemetry.daemon.supervisor._PATIENCE_S", 0.05)
        hangs, turns = asyncio.Event(), []

        async def done() -> None:
            turns.append(1)

        async def hang() -> None:
            await hangs.wait()

        supervisor = Supervisor(TaskFailures(logging.getLogger("duties")), [].append, metrics.task_turns)
        supervisor.every(0.001, "hung", hang)
        supervisor.every(0.001, "done", done)
        assert supervisor.overdue() == []
        await until(supervisor.overdue)
        assert supervisor.overdue() == ["hung"]
        hangs.set()
        await until(lambda: not supervisor.overdue())
        await supervisor.end()
        assert supervisor.overdue() == []

    asyncio.run(scenario())
    last = metrics.registry.get_sample_value("test_task_last_turn_timestamp_seconds", {"task": "done"})
    assert last > 1_700_000_000


class SmallService:
    """What `run_until_signal` runs, with nothing of its own but a piece of work at the start."""

    def __init__(self, work) -> None:
        self.metrics = MetricSet("test_")
        self.failures = TaskFailures(logging.getLogger("service"), self.metrics.task_failures)
        self.ended, self.failure, self.stopped = asyncio.Event(), "", False
        self._work = work

    async def start(self) -> None:
        self._work(self)

    async def stop(self) -> None:
        self.stopped = True

    def fail(self, why: str) -> None:
        self.failure = why
        self.ended.set()


def raises() -> None:
    raise LookupError("nothing caught it")


def test_a_thread_that_ends_with_an_error_ends_its_process_and_is_counted(caplog):
    async def scenario():
        service = SmallService(lambda _: threading.Thread(target=raises, name="files").start())
        with pytest.raises(SinkError, match="the thread files has ended: LookupError"):
            await run_until_signal(service, lambda _: None, logging.getLogger("service"))
        return service

    before = threading.excepthook
    service = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert service.stopped, "it is drained first"
    assert failures(service.metrics, "files") == 1
    assert "files has ended, so the process ends" in caplog.text
    assert threading.excepthook is before


def test_an_error_of_a_callback_or_of_a_forgotten_task_is_counted_and_the_process_goes_on(caplog):
    async def forgotten() -> None:
        raises()

    async def scenario():
        def work(service) -> None:
            loop = asyncio.get_running_loop()
            loop.call_soon(raises)
            loop.create_task(forgotten())  # noqa: RUF006 - that it is forgotten is the test
            loop.call_later(0.05, gc.collect)
            loop.call_later(0.1, service.fail, "enough")

        service = SmallService(work)
        with pytest.raises(SinkError, match="enough"):
            await run_until_signal(service, lambda _: None, logging.getLogger("service"))
        return service

    service = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert failures(service.metrics, "callbacks") == 2
    assert caplog.text.count("callbacks: LookupError: nothing caught it") == 2
