"""The page as an application of ASGI: files, questions about runs as JSON, and the stream of changes.

What may read a file or wait for a collector runs in a worker thread; the event loop only passes on. An error of a
question is an answer with its text, never a silent empty page.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from esper_telemetry.errors import TelemetryError
from esper_telemetry.ui.access import Access
from esper_telemetry.ui.assets import find_assets
from esper_telemetry.ui.changestream import Channel, follow
from esper_telemetry.ui.downloads import panel_csv
from esper_telemetry.ui.eventpages import Wish, event_document, reference_document
from esper_telemetry.views import Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from esper_telemetry.ui.openruns import OpenRuns
    from esper_telemetry.ui.runfold import RunFold

    Answer = Callable[[Request], Awaitable[Response]]

# Runs on one page: a comparison of more is a table, not a picture.
MOST_TOGETHER = 8
MOST_VIEWERS = 128
_ALL_POINTS = 1 << 20
_MOST_POINTS = 4000
_LASTING = "public, max-age=604800"


class Page:
    """The answers of a page.

    Args:
        runs: the runs it may show.
        stopping: tells whether the server is being stopped: streams end then.
    """

    def __init__(self, runs: OpenRuns, stopping: Callable[[], bool] = lambda: False) -> None:
        self._runs = runs
        self._stopping = stopping
        self._assets = find_assets()
        self._viewers = 0

    def app(self, *, host: str, token: str = "") -> ASGIApp:
        """Return the application, with its access control.

        Args:
            host: where it listens.
            token: what requests must carry; empty for none.
        """
        routes = [
            Route("/api/runs", self._answer(self._list)),
            Route("/api/stream", self._answer(self._stream)),
            Route("/api/runs/{key}/recent", self._answer(self._recent)),
            Route("/api/runs/{key}/events", self._answer(self._events)),
            Route("/api/runs/{key}/schema", self._answer(self._schema)),
            Route("/api/runs/{key}/panels/{panel}", self._answer(self._panel)),
            Route("/api/runs/{key}/panels/{panel}/{form}", self._answer(self._download)),
            Route("/api/runs/{key}/replay", self._answer(self._begin_replay), methods=["POST"]),
            Route("/api/runs/{key}/pace", self._answer(self._pace), methods=["GET", "POST"]),
            Route("/{name:path}", self._answer(self._file)),
        ]
        return Access(Starlette(routes=routes), host=host, token=token)

    def _answer(self, work: Answer) -> Answer:
        """Turn the errors of a question into its answer."""

        async def answer(request: Request) -> Response:
            try:
                return await work(request)
            except HTTPException as error:
                return JSONResponse({"error": error.detail}, error.status_code)
            except KeyError as error:
                return JSONResponse({"error": str(error.args[0]) if error.args else "not found"}, 404)
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)
            except (TelemetryError, OSError) as error:
                return JSONResponse({"error": str(error)}, 404)

        return answer

    async def _file(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404, f"there is no page {request.path_params['name'][:80]!r}; start at /")
        headers = {"cache-control": _LASTING if asset.lasting else "no-cache"}
        return FileResponse(asset.path, media_type=asset.media_type, headers=headers)

    async def _list(self, request: Request) -> Response:
        del request
        runs = await run_in_threadpool(self._runs.listing.runs)
        return _json({"place": self._runs.listing.place, "runs": [asdict(run) for run in runs]})

    async def _stream(self, request: Request) -> Response:
        keys = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 0 < len(keys) <= MOST_TOGETHER:
            raise ValueError(f"{len(keys)} runs were asked for; a page shows 1 to {MOST_TOGETHER}")
        if self._viewers >= MOST_VIEWERS:
            raise HTTPException(503, f"{MOST_VIEWERS} pages are open; close one of them")
        cursors = request.headers.get("last-event-id") or request.query_params.get("cursor", "")
        folds = [await run_in_threadpool(self._runs.get, key) for key in keys]
        channels = Channel.several(keys, folds, cursors)

        async def counted() -> Any:
            self._viewers += 1
            try:
                async for piece in follow(channels, self._stopping):
                    yield piece
            finally:
                self._viewers -= 1

        return StreamingResponse(counted(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _recent(self, request: Request) -> Response:
        fold = await self._fold(request)
        wish = Wish.parse(request.query_params)
        number = int(request.query_params.get("after", "0") or 0)
        return _json(await run_in_threadpool(_recent_document, fold, wish, number))

    async def _events(self, request: Request) -> Response:
        fold = await self._fold(request)
        wish = Wish.parse(request.query_params)
        return _json(await run_in_threadpool(_stored_document, fold, wish))

    async def _schema(self, request: Request) -> Response:
        fold = await self._fold(request)
        return _json(await run_in_threadpool(lambda: reference_document(fold.origin.reference())))

    async def _panel(self, request: Request) -> Response:
        fold = await self._fold(request)
        query = request.query_params
        window = Window(float(query.get("low", "-inf")), float(query.get("high", "inf")))
        points = min(int(query.get("points", "400")), _MOST_POINTS)
        return _json(await run_in_threadpool(fold.panel, request.path_params["panel"], window, points))

    async def _download(self, request: Request) -> Response:
        fold = await self._fold(request)
        panel, form = request.path_params["panel"], request.path_params["form"]
        if form not in ("csv", "json"):
            raise ValueError(f"a panel can be downloaded as csv or json, not as {form[:20]!r}")
        found = await run_in_threadpool(fold.panel, panel, None, _ALL_POINTS)
        name = "".join(char if char.isalnum() else "-" for char in found["id"])
        headers = {"content-disposition": f'attachment; filename="{name}.{form}"'}
        if form == "json":
            return Response(json.dumps(found, ensure_ascii=False, indent=1), 200, headers, "application/json")
        return Response(await run_in_threadpool(panel_csv, found), 200, headers, "text/csv; charset=utf-8")

    async def _begin_replay(self, request: Request) -> Response:
        body = await _object(request)
        speed = _float(body, "speed", 10.0)
        key = await run_in_threadpool(self._runs.replay, request.path_params["key"], speed)
        return _json({"key": key})

    async def _pace(self, request: Request) -> Response:
        pace = self._runs.pace(request.path_params["key"])
        if request.method == "POST":
            body = await _object(request)
            speed = _float(body, "speed", None)
            until = _float(body, "until_ms", None)
            paused = body.get("paused")
            pace.set(
                speed=speed,
                paused=None if paused is None else bool(paused),
                until_ns=None if until is None else int(until * 1e6),
            )
        return _json(pace.state())

    async def _fold(self, request: Request) -> RunFold:
        return await run_in_threadpool(self._runs.get, request.path_params["key"])


def _recent_document(fold: RunFold, wish: Wish, number: int) -> dict[str, Any]:
    page = fold.recent(number, wish.wants, wish.most)
    return {
        "events": [{"number": at, **event_document(event)} for at, event in page.events],
        "upto": page.upto,
        "left": page.left,
    }


def _stored_document(fold: RunFold, wish: Wish) -> dict[str, Any]:
    # A text is looked for in more events than are shown: it is the one wish that the reader of files does not know.
    found = fold.origin.last(wish.filter(), wish.most * (20 if wish.text else 1))
    events = [event for event in found if wish.wants(event)] if wish.text else found
    return {"events": [event_document(event) for event in events[-wish.most :]], "looked_at": len(found)}


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        raise ValueError('the body is no JSON object; send one, such as {"speed": 10}')  # noqa: TRY004 - told as 400
    return body


def _float(body: dict[str, Any], name: str, default: Any) -> Any:
    value = body.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"{name} is {value!r}, which is no number")
    return value


def _json(value: Any) -> Response:
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text, media_type="application/json")


def _finite(value: Any) -> Any:
    """Return a value with what is no number in JSON as its name; documents of panels and events have none."""
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value
