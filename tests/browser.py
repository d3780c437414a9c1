"""Chromium without a window, driven over a pipe by its DevTools protocol: no other package.

    with browser.open_page(path, width=360) as page:
        assert page.evaluate("document.title") == ...

Every call has a time limit, and the browser ends with the `with` block whatever happens.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

SECONDS = 60  # for one answer of the browser
NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--remote-debugging-pipe")  # fmt: skip
# The browser reads commands from file descriptor 3 and answers on 4.
LAUNCH = "import os, sys; os.dup2({}, 3); os.dup2({}, 4); os.execv(sys.argv[1], sys.argv[1:])"

if os.environ.get("LINCLS_BROWSER") and not PROGRAM:
    raise RuntimeError("LINCLS_BROWSER is set, so tests in a browser must run: install Chromium")
needed = pytest.mark.skipif(
    not PROGRAM or os.name == "nt", reason="no Chromium on the PATH: the page is not looked at"
)


class Page:
    """A tab: commands of the protocol, and what it complained about."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._rest = commands, answers, b""
        self._number, self._session = 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **arguments):
        """The result of one command; what happens meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next(SECONDS)).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            part = os.read(self._answers, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("the browser does not answer")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def wait(self, method):
        """Wait for an event that has not come yet."""
        while (event := self._next(SECONDS))["method"] != method:
            self.events.append(event)

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def mouse(self, kind, x, y):
        """Press, move or release the left button at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left",
                  buttons=1, clickCount=1)  # fmt: skip

    def act(self, name):
        """Press the button that acts so."""
        self.evaluate(f"document.querySelector('[data-act={name}]').click()")

    def in_window(self, x, y):
        """Where a point of the plane of the page's first figure is in the window."""
        return self.evaluate(
            "(() => { const to = document.querySelector('svg g').getScreenCTM(); const at = new "
            f"DOMPoint({x}, {y}).matrixTransform(to); return [at.x, at.y]; }})()"
        )

    def picture(self, path, whole=True):
        """Save what is seen as a PNG: the whole page, or the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self):
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    @property
    def complaints(self):
        """Errors on the console, exceptions, and requests that failed or left the machine."""
        told = []
        for event in self.events:
            method, what = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                told.append(what["exceptionDetails"]["text"])
            elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
                told.append(what["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning"):
                told.append(str(what["args"]))
            elif method == "Network.loadingFailed":
                told.append(what["errorText"])
            elif method == "Network.requestWillBeSent":
                url = what["request"]["url"]
                told += [url] if not url.startswith(("file:", "data:")) else []
        return told


@contextlib.contextmanager
def open_page(path, width=1200, height=900, dark=False, scripts=True, media=""):
    """A file opened in a window of this size, once it has loaded with all its pictures."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", LAUNCH.format(theirs_in, theirs_out), PROGRAM, *FLAGS]
        running = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"], pass_fds=(theirs_in, theirs_out),
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            os.close(theirs_in)
            os.close(theirs_out)
            page = Page(ours_out, ours_in)
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
            page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            page.call("Page.navigate", url=Path(path).resolve().as_uri())
            page.wait("Page.loadEventFired")
            yield page
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait(timeout=SECONDS)
            os.close(ours_out)
            os.close(ours_in)
