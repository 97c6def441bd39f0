"""A headless Chromium, driven over its debugging pipe: no port, no driver, no package.

The browser is told to use a proxy that does not exist for every host, so a page that asks for
anything remote fails to get it, and the request is seen here.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--proxy-server=127.0.0.1:9",
    "--remote-debugging-pipe",
    "about:blank",
)
_ANSWER_S: Final = 60.0
_READ_FD, _WRITE_FD = 3, 4
"""Where Chromium reads commands and writes answers."""


@dataclass(slots=True)
class Tab:
    """A page in the browser. events: everything that it reported, in order."""

    browser: Browser
    session: str
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its result."""
        return self.browser.send(method, parameters, self)

    def open(self, page: Path) -> None:
        """Load a file and wait until it has loaded; events of earlier pages are forgotten."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        self.browser.wait(lambda: "Page.loadEventFired" in self.seen())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def seen(self) -> list[str]:
        """Names of the events so far."""
        return [event["method"] for event in self.events]

    def requests(self) -> list[str]:
        """Addresses of everything that the page asked for, itself included."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console, the page's policy or an exception said."""
        told = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in told]

    def screenshot(self) -> bytes:
        """The visible part as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.send("Page.printToPDF")["data"])

    def press(self, key: str) -> None:
        """Press and release a key, for example Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13}
        facts: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **facts, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **facts)


@dataclass(slots=True)
class Browser:
    """A running Chromium. commands, answers: ends of its pipes."""

    process: int
    commands: int
    answers: int
    tabs: dict[str, Tab] = field(default_factory=dict)
    _last: int = 0
    _rest: bytes = b""
    _results: dict[int, dict[str, Any]] = field(default_factory=dict)

    def tab(self, width: int = 800, height: int = 1000, *, dark: bool = False) -> Tab:
        """A new empty page of this size."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        words = {"targetId": target, "flatten": True}
        session = self.send("Target.attachToTarget", words)["sessionId"]
        tab = self.tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            tab.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        tab.send("Emulation.setDeviceMetricsOverride", **size, mobile=width < 500)
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        tab.send("Emulation.setEmulatedMedia", features=wanted)
        return tab

    def send(
        self, method: str, parameters: Mapping[str, Any], tab: Tab | None = None
    ) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": dict(parameters)}
        if tab is not None:
            message["sessionId"] = tab.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        self.wait(lambda: number in self._results)
        answer = self._results.pop(number)
        assert "error" not in answer, f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, arrived: Any) -> None:
        """Take in messages until `arrived()`."""
        end = time.monotonic() + _ANSWER_S
        while not arrived():
            ready, _, _ = select.select([self.answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            self._take()

    def _take(self) -> None:
        data = os.read(self.answers, 1 << 16)
        assert data, "the browser ended"
        *messages, self._rest = (self._rest + data).split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._results[message["id"]] = message
            elif (session := message.get("sessionId")) in self.tabs:
                self.tabs[session].events.append(message)


def find_browser() -> str:
    """The path of a Chromium. Raises FileNotFoundError where there is none."""
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"no {', '.join(_NAMES)} on this machine")


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start a Chromium with a fresh profile, and end it with all its processes."""
    program = find_browser()
    # Numbers that cannot be 3 or 4 in the child, whatever is open here.
    command_read, command_write = (_high(end) for end in os.pipe())
    answer_read, answer_write = (_high(end) for end in os.pipe())
    quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
    process = os.posix_spawn(
        program,
        [program, f"--user-data-dir={profile}", *_FLAGS],
        {**os.environ, "HOME": str(profile)},
        file_actions=[
            quiet,
            (os.POSIX_SPAWN_DUP2, command_read, _READ_FD),
            (os.POSIX_SPAWN_DUP2, answer_write, _WRITE_FD),
        ],
        setpgroup=0,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        yield Browser(process, command_write, answer_read)
    finally:
        os.close(command_write)
        os.close(answer_read)
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _high(end: int) -> int:
    copy = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(end)
    return copy
