"""The application of `esper-telemetry top`: tabs of panels of one of several runs, drawn anew twice a second.

It asks runs that other threads read; an error of one is shown in its header. Keys are those of top, less and vim.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from rich.console import Group
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Input, Static, TabbedContent, TabPane

from esper_telemetry.terminal.drawing import panel_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.panel import PanelFigures

_REDRAW_S = 0.5
_ROWS = 24
_EVENTS = 200
_NANOS = 1_000_000_000
TABS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vitals": (
        "Vitals",
        (
            *("truth", "verdict", "learning", "ppo", "offpolicy", "returns", "scalars", "custom", "logged"),
            *("distributions", "throughput", "machine", "health"),
        ),
    ),
    "slots": ("Slots", ("seeds", "fates", "contributions", "governor", "environments")),
    "actions": ("Actions", ("actions", "heads", "rewards")),
    "masks": ("Masks", ("masks",)),
    "events": ("Events", ()),
    "runs": ("Runs", ()),
}
_LIVES = {"live": "green", "slow": "yellow", "stale": "bold red", "gone": "bold red", "ended": "cyan", "reading": "dim"}


class Shown(Protocol):
    """An answer to "what came lately"."""

    @property
    def events(self) -> Sequence[tuple[int, Event]]:
        """Number and event."""


class Watched(Protocol):
    """A run that is read by another thread."""

    def state(self) -> dict[str, Any]:
        """Return how the run fares."""

    def figures(self, panel_ids: Sequence[str], points: int = ..., rows: int = ...) -> list[PanelFigures]:
        """Return panels as they are now."""

    def recent(self, number: int, wanted: Callable[[Any], bool], most: int) -> Shown:
        """Return events that came lately."""


class NamedRun(NamedTuple):
    """A run of the monitor: its name, and what watches it."""

    name: str
    run: Watched


class Monitor(App[None]):
    """The monitor.

    Args:
        runs: what can be looked at, the first one first.
    """

    TITLE = "esper-telemetry top"
    CSS = """
    #head { height: 1; padding: 0 1; background: $panel; }
    TabbedContent, ContentSwitcher, TabPane, VerticalScroll { height: 1fr; }
    TabPane { padding: 0 1; }
    VerticalScroll { scrollbar-gutter: stable; }
    #filter { height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        *(Binding(str(at), f"tab('{name}')", title) for at, (name, (title, _)) in enumerate(TABS.items(), 1)),
        Binding("n", "run(1)", "next run"),
        Binding("p", "run(-1)", "previous run"),
        Binding("space", "pause", "pause"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "leave", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown,ctrl+d", "scroll(20)", show=False),
        Binding("pageup,ctrl+u", "scroll(-20)", show=False),
        Binding("g,home", "scroll(-100000)", show=False),
        Binding("G,end", "scroll(100000)", show=False),
    ]

    def __init__(self, runs: Sequence[NamedRun]) -> None:
        super().__init__()
        self._runs = runs
        self._at = 0
        self._paused = False

    def compose(self) -> ComposeResult:
        """Lay out the header, the tabs and the keys."""
        yield Static(id="head")
        with TabbedContent(initial="vitals"):
            for name, (title, _) in TABS.items():
                with TabPane(title, id=name):
                    if name == "events":
                        yield Input(placeholder="type or text; Enter keeps it, Esc leaves", id="filter")
                    with VerticalScroll(id=f"scroll-{name}", can_focus=False):
                        yield Static(id=f"body-{name}")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to draw."""
        self.set_focus(None)
        self.set_interval(_REDRAW_S, self.redraw)
        self.redraw()

    def on_tabbed_content_tab_activated(self) -> None:
        """Draw the tab that was chosen at once."""
        self.redraw()

    def on_input_changed(self) -> None:
        """Filter while it is typed."""
        self.redraw()

    def on_input_submitted(self) -> None:
        """Keep the filter, and give the keys back."""
        self.set_focus(None)

    def redraw(self) -> None:
        """Draw the header and the tab that is shown."""
        run = self._runs[self._at].run
        state = run.state()
        self.query_one("#head", Static).update(self._head(state))
        if self._paused:
            return
        tab = self.query_one(TabbedContent).active
        if tab:
            self.query_one(f"#body-{tab}", Static).update(self._body(tab, run))

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(TabbedContent).active = name

    def action_run(self, step: int) -> None:
        """Show the next run, or the one before."""
        self._at = (self._at + step) % len(self._runs)
        self.redraw()

    def action_pause(self) -> None:
        """Keep what is shown, or go on; the header goes on."""
        self._paused = not self._paused
        self.redraw()

    def action_filter(self) -> None:
        """Go to the filter of events."""
        self.action_tab("events")
        self.query_one("#filter", Input).focus()

    def action_leave(self) -> None:
        """Give the keys back."""
        self.set_focus(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll the tab that is shown."""
        tab = self.query_one(TabbedContent).active
        self.query_one(f"#scroll-{tab}", VerticalScroll).scroll_relative(y=lines, animate=False)

    def _head(self, state: dict[str, Any]) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(printable(state["name"] or self._runs[self._at].name), style="bold")
        text.append(f"  {state['life']}", style=_LIVES.get(state["life"], ""))
        text.append(f"  {printable(state['text'])}  {state['folded']:,} events", style="dim")
        if state["phase"] == "history" and state["stored"]:
            text.append(f" of {state['stored']:,}", style="dim")
        if state["failure"]:
            text.append(f"  cannot be read: {printable(state['failure'])}", style="bold red")
        if state["warning_count"]:
            text.append(f"  {state['warning_count']} warnings", style="yellow")
        if self._paused:
            text.append("  paused", style="reverse")
        if len(self._runs) > 1:
            text.append(f"  run {self._at + 1} of {len(self._runs)}", style="dim")
        return text

    def _body(self, tab: str, run: Watched) -> Group:
        width = max(40, self.query_one(f"#body-{tab}", Static).content_size.width)
        if tab == "events":
            return self._events(run)
        if tab == "runs":
            return Group(*(self._row(at, one) for at, one in enumerate(self._runs)))
        _, panels = TABS[tab]
        shown = run.figures(panels, points=width, rows=_ROWS)
        order = {name: at for at, name in enumerate(panels)}
        shown.sort(key=lambda one: order[one.panel.id])
        if not shown:
            return Group(Text("nothing of this has been recorded so far", style="dim"))
        return Group(*(panel_text(one, width) for one in shown))

    def _events(self, run: Watched) -> Group:
        wish = self.query_one("#filter", Input).value.casefold()

        def wanted(event: Event) -> bool:
            return not wish or wish in event.type or wish in str(event.data).casefold()

        page = run.recent(0, wanted, _EVENTS)
        if not page.events:
            return Group(Text("no such event among the last ones", style="dim"))
        return Group(*(_event_line(event) for _, event in reversed(page.events)))

    def _row(self, at: int, one: NamedRun) -> Text:
        state = one.run.state()
        text = Text("▶ " if at == self._at else "  ")
        text.append(printable(state["name"] or one.name).ljust(32))
        text.append(f"{state['life']:<9}", style=_LIVES.get(state["life"], ""))
        text.append(f"{state['folded']:>12,} events  {printable(state['text'])}", style="dim")
        return text


def _event_line(event: Event) -> Text:
    moment = datetime.fromtimestamp(event.time_unix_nano // _NANOS, UTC)
    text = Text(f"{moment:%H:%M:%S} ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(f"r{event.rank}#{event.seq} ", style="dim")
    text.append(printable(event.type), style="cyan")
    for name, value in event.data.items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        text.append(f"  {name} ", style="dim")
        text.append(printable(shown[:80]))
    return text
