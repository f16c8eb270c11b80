"""A headless browser, driven by its DevTools protocol: what a person sees of a page, in words and as a picture."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from websockets.sync.client import connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", *QUIET)


class Browser:
    """One page of a browser, at the other end of ``socket``."""

    def __init__(self, socket) -> None:
        self.socket, self.calls = socket, 0

    def call(self, method: str, **parameters):
        """What a method of the protocol gives; events are passed over."""
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.calls:
                assert "error" not in answer, answer
                return answer["result"]

    def text(self) -> str:
        """What the page says."""
        expression = "document.body ? document.body.innerText : ''"
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value", "")

    def open(self, address: str, *words: str, seconds: float = 60) -> None:
        """Go to a page and wait until it says all of these words."""
        self.call("Page.navigate", url="about:blank")  # an address that differs behind the # only would load nothing
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + seconds
        while missing := [word for word in words if word.lower() not in self.text().lower()]:
            assert time.monotonic() < deadline, f"{address} does not say {missing}, but:\n{self.text()[:3000]}"
            time.sleep(0.3)

    def enter(self, text: str, seconds: float = 60) -> None:
        """Type into the only field of the page, press Enter, and wait until the page has gone."""
        here = self.call("Runtime.evaluate", expression="location.pathname")["result"]["value"]
        self.call("Runtime.evaluate", expression="document.querySelector('input').focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13, text="\r")
        deadline = time.monotonic() + seconds
        while self.call("Runtime.evaluate", expression="location.pathname")["result"]["value"] == here:
            assert time.monotonic() < deadline, f"the page does not go on:\n{self.text()[:3000]}"
            time.sleep(0.3)

    def script(self, expression: str):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def keys(self, *keys: str) -> None:
        """Press keys one after the other: letters, or Enter and Escape. A page hears none before it is drawn."""
        drawn = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))"
        self.call("Runtime.evaluate", expression=drawn, awaitPromise=True)
        for key in keys:
            code = {"Enter": 13, "Escape": 27}.get(key, 0)
            text = {"Enter": "\r", "Escape": ""}.get(key, key)
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Type into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def fill(self, field: str, text: str) -> None:
        """Type into the field that a selector names, and wait until it holds that."""
        self.wait(f"document.readyState == 'complete' && document.querySelector({json.dumps(field)})")
        self.script(f"document.querySelector({json.dumps(field)}).focus()")
        self.type(text)
        self.wait(f"document.querySelector({json.dumps(field)}).value == {json.dumps(text)}")

    def wait(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression holds; a page may load meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            tried = f"(() => {{ try {{ return !!({expression}) }} catch {{}} }})()"
            if self.call("Runtime.evaluate", expression=tried)["result"].get("value"):
                return
            assert time.monotonic() < deadline, f"{expression} does not come about:\n{self.text()[:3000]}"
            time.sleep(0.1)

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        """Look at pages on a screen of this size, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """What the page looks like, as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        time.sleep(1)  # words come before figures
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(width: int = 1500, height: int = 1100):
    """A browser that forgets everything when it is closed."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        own = (f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size={width},{height}")
        process = subprocess.Popen(
            [PROGRAM, *OPTIONS, *own, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with connect(_page(Path(profile)), max_size=None, proxy=None) as socket:
                page = Browser(socket)
                page.call("Page.enable")
                yield page
        finally:
            process.terminate()
            process.wait(30)


def _page(profile: Path, seconds: float = 60) -> str:
    """The address of the first page, as soon as there is one."""
    deadline, told = time.monotonic() + seconds, profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        if told.is_file() and (port := told.read_text().partition("\n")[0]):
            listed = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
            if pages := [each["webSocketDebuggerUrl"] for each in listed if each["type"] == "page"]:
                return pages[0]
        time.sleep(0.1)
    raise AssertionError(f"the browser does not start within {seconds:g} s")
