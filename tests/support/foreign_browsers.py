"""Firefox and WebKit as their makers and Debian ship them, driven without anything between.

Playwright drives builds of its own, which differ from what people have. Firefox itself serves WebDriver's commands
(Marionette: https://firefox-source-docs.mozilla.org/testing/marionette/), WebKitGTK brings a program that serves them
over HTTP (https://www.w3.org/TR/webdriver2/). Both know the same commands, so a page is driven in one way here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx

from ansambl.foundation.network import free_port

START_LIMIT = 60.0
PATIENCE = 60.0
"""Seconds that a page may take for what is waited for, unless a test says otherwise."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""How WebDriver marks an element in its answers."""

_FIND = """const [selector, words] = arguments;
return [...document.querySelectorAll(selector)].find((one) => one.textContent.includes(words)) ?? null"""
_VISIBLE = """const [selector, words] = arguments;
return [...document.querySelectorAll(selector)]
  .some((one) => one.textContent.includes(words) && one.getClientRects().length)"""
_WATCH = """window.wrongs = [];
addEventListener("error", (event) => wrongs.push(String(event.message || event.target)), true);
addEventListener("unhandledrejection", (event) => wrongs.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => {
  wrongs.push(`${event.violatedDirective} ${event.blockedURI}`);
});
for (const kind of ["error", "warn"]) {
  const said = console[kind];
  console[kind] = (...words) => { wrongs.push(words.join(" ")); said.apply(console, words); };
}"""
_FIREFOX_WATCH = """window.asked = [];
window.watcher = { observe(channel) {
  channel.QueryInterface(Ci.nsIHttpChannel);
  // What the browser asks for itself, as lists of bad addresses, belongs to no tab.
  if (channel.loadInfo?.browsingContextID) asked.push(channel.URI.spec);
} };
Services.obs.addObserver(watcher, "http-on-modify-request");"""
# Firefox warns of much that is no fault, as of each deprecated name when Alpine asks what a window has. What the
# security policy keeps out counts all the same.
_FIREFOX_WRONGS = """const storage = Cc["@mozilla.org/consoleAPI-storage;1"].getService(Ci.nsIConsoleAPIStorage);
const said = storage.getEvents().filter((one) => /^http/.test(one.filename) && ["error", "warn"].includes(one.level));
const found = Services.console.getMessageArray().filter((one) => one instanceof Ci.nsIScriptError)
  .filter((one) => /^http/.test(one.sourceName) && (!(one.flags & one.warningFlag) || /CSP|Content/.test(one.category)))
  // A stream that ends with its page.
  .filter((one) => !/interrupted while the page was loading/.test(one.errorMessage))
  .map((one) => `${one.sourceName}:${one.lineNumber} ${one.errorMessage}`);
storage.clearEvents();
Services.console.reset();
return [...found, ...said.map((one) => one.arguments.map(String).join(" "))];"""
_FIREFOX_SIZE = """const one = gBrowser.selectedBrowser;
for (const [name, size] of [["width", arguments[0]], ["height", arguments[1]]])
  for (const kind of ["", "min-", "max-"]) one.style.setProperty(kind + name, size + "px");"""
_FIREFOX_SETTINGS = {
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "intl.accept_languages": "en-GB, en",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "ui.prefersReducedMotion": 1,
}


class NotThereError(Exception):
    """The browser is not on this machine; says how it comes there."""


class OtherBrowser(ABC):
    """One window of a browser with a profile of its own, until `close`."""

    name: str
    version: str = ""

    @abstractmethod
    def command(self, name: str, **fields: Any) -> Any:
        """Send one command of WebDriver by its name there, and return its value."""

    @abstractmethod
    def resize(self, width: int, height: int) -> None:
        """Give the page this size in CSS pixels, or the nearest that the browser knows."""

    @abstractmethod
    def wrongs(self) -> list[str]:
        """What went wrong in pages since this was last asked: errors, warnings, breaches of the security policy."""

    @abstractmethod
    def asked(self) -> list[str]:
        """The addresses that its pages asked for since this was last asked."""

    @abstractmethod
    def close(self) -> None:
        """End the browser."""

    def go(self, address: str) -> None:
        """Open a page and wait until it was loaded."""
        self.command("Navigate", url=address)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script in the page."""
        return self.command("ExecuteScript", script=script, args=list(arguments))

    def find(self, selector: str, words: str = "") -> dict[str, str]:
        """The first element of a selector of CSS that contains these words; waits for it."""
        found: dict[str, str] = self.until(lambda: self.run(_FIND, selector, words), f"{selector} {words}".strip())
        return found

    def is_visible(self, selector: str, words: str = "") -> bool:
        """Whether such an element is there and takes room."""
        return bool(self.run(_VISIBLE, selector, words))

    def sees(self, selector: str, words: str = "", limit: float = PATIENCE) -> None:
        """Wait until such an element is visible."""
        self.until(lambda: self.is_visible(selector, words), f"{selector} {words} visible", limit)

    def click(self, selector: str, words: str = "") -> None:
        """Click an element as a user does."""
        self.command("ElementClick", id=self.find(selector, words)[ELEMENT])

    def type(self, selector: str, words: str, *, anew: bool = False) -> None:
        """Write into a field by keys; a file field takes paths. `anew` empties it first."""
        element = self.find(selector)[ELEMENT]
        if anew:
            self.command("ElementClear", id=element)
        self.command("ElementSendKeys", id=element, text=words)

    def until(self, condition: Callable[[], Any], what: str, limit: float = PATIENCE) -> Any:
        """Wait until `condition` returns something true, and return that.

        Raises:
            AssertionError: it did not come within `limit` seconds.
        """
        end = time.monotonic() + limit
        while not (found := condition()):
            if time.monotonic() > end:
                shown = self.run("return document.body.innerText.slice(0, 400)")
                raise AssertionError(f"{self.name} waited {limit:.0f} s in vain: {what}; it shows: {shown}")
            time.sleep(0.05)
        return found

    def picture(self, path: Path) -> None:
        """Keep a picture of what is seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.command("TakeScreenshot", full=False)))


class Firefox(OtherBrowser):
    """Firefox by its own server of commands."""

    name = "firefox"

    def __init__(self, folder: Path) -> None:
        program = os.environ.get("FIREFOX_PATH") or shutil.which("firefox-esr") or shutil.which("firefox")
        if program is None:
            raise NotThereError(
                "no Firefox on this machine (on Debian: apt-get install firefox-esr), or set FIREFOX_PATH"
            )
        port = free_port()
        settings = {**_FIREFOX_SETTINGS, "marionette.port": port}
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items())
        (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
        self._log = (folder / "firefox.log").open("wb")
        # System access lets the test read the browser's own console and list of requests.
        self._process = subprocess.Popen(
            [program, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", folder,
             "about:blank"],
            env={**os.environ, "HOME": str(folder), "MOZ_HEADLESS_WIDTH": "1400", "MOZ_HEADLESS_HEIGHT": "1100"},
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._number = 0
        try:
            with connected(port, self._process) as connection:
                # It stays open as long as its file does.
                self._stream = connection.makefile("rwb")
            self._receive()
            self.version = self.command("NewSession")["capabilities"]["browserVersion"]
            self._inside(_FIREFOX_WATCH)
            self.wrongs()
        except BaseException:
            end(self._process)
            raise

    def command(self, name: str, **fields: Any) -> Any:
        """Send ``WebDriver:NAME``."""
        return self._send(f"WebDriver:{name}", fields)

    def resize(self, width: int, height: int) -> None:
        """Of the page alone: the window of a Firefox cannot be as narrow as a phone."""
        self._inside(_FIREFOX_SIZE, width, height)
        self.until(lambda: self.run("return innerWidth") == width, f"a width of {width}")

    def wrongs(self) -> list[str]:
        """From the browser's console, which also tells of what happened before a page's scripts ran."""
        found: list[str] = self._inside(_FIREFOX_WRONGS)
        return found

    def asked(self) -> list[str]:
        """As the browser sent them."""
        found: list[str] = self._inside("return asked.splice(0)")
        return found

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError, ValueError):
            self._send("Marionette:Quit", {"flags": ["eForceQuit"]})
            self._stream.close()
        end(self._process)
        self._log.close()

    def _inside(self, script: str, *arguments: Any) -> Any:
        """Run a script with the browser's own rights."""
        self._send("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.command("ExecuteScript", script=script, args=list(arguments), newSandbox=False)
        finally:
            self._send("Marionette:SetContext", {"value": "content"})

    def _send(self, name: str, fields: dict[str, Any]) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, name, fields]).encode()
        self._stream.write(b"%d:%b" % (len(message), message))
        self._stream.flush()
        _, _, error, answer = self._receive()
        if error:
            raise AssertionError(f"{name}: {error['error']}: {error['message']}")
        return answer["value"] if isinstance(answer, dict) and set(answer) == {"value"} else answer

    def _receive(self) -> Any:
        length = b""
        while (one := self._stream.read(1)) != b":":
            if not one:
                raise ConnectionError("Firefox ended")
            length += one
        return json.loads(self._stream.read(int(length)))


class WebKit(OtherBrowser):
    """WebKitGTK, the engine of Safari, in its own small window on a screen that nobody sees."""

    name = "webkit"
    _PATHS: ClassVar = {
        "Navigate": ("POST", "url"), "ExecuteScript": ("POST", "execute/sync"), "TakeScreenshot": ("GET", "screenshot"),
        "ElementClick": ("POST", "element/{id}/click"), "ElementClear": ("POST", "element/{id}/clear"),
        "ElementSendKeys": ("POST", "element/{id}/value"), "SetWindowRect": ("POST", "window/rect"),
    }  # fmt: skip

    def __init__(self, folder: Path) -> None:
        windows = sorted(Path("/usr").glob("lib*/**/webkit2gtk-4.*/MiniBrowser"))
        if not windows or shutil.which("WebKitWebDriver") is None or shutil.which("Xvfb") is None:
            raise NotThereError(
                "no WebKitGTK to drive on this machine (on Debian: apt-get install webkit2gtk-driver xvfb)"
            )
        self._log = (folder / "webkit.log").open("wb")
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            screen = self._screen()
            port = free_port()
            environment = {
                **os.environ, "DISPLAY": screen, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder),
                "LIBGL_ALWAYS_SOFTWARE": "1", "GTK_A11Y": "none", "NO_AT_BRIDGE": "1",
            }  # fmt: skip
            self._children.append(subprocess.Popen(
                ["WebKitWebDriver", f"--port={port}", "--host=127.0.0.1"], env=environment,
                stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
            ))  # fmt: skip
            connected(port, self._children[-1]).close()
            self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
            options = {"binary": str(windows[-1]), "args": ["--automation"]}
            wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
            session = self._value(self._client.post("/session", json=wanted))
        except BaseException:
            self._end()
            raise
        self._session = session["sessionId"]
        self.version = session["capabilities"]["browserVersion"]
        self._kept: list[str] = []
        self._seen: list[str] = []

    def command(self, name: str, **fields: Any) -> Any:
        """Send it by its path."""
        method, path = self._PATHS[name]
        address = f"/session/{self._session}/{path.format(**fields)}"
        return self._value(self._client.request(method, address, json=fields if method == "POST" else None))

    def go(self, address: str) -> None:
        """Here the page itself is watched, from the moment on when it was loaded."""
        self._gather()
        super().go(address)
        self.run(_WATCH)

    def resize(self, width: int, height: int) -> None:
        """Of the window, which has a bar above the page and is never narrower than about 450 pixels."""
        self.command("SetWindowRect", x=0, y=0, width=width, height=height)

    def wrongs(self) -> list[str]:
        """What the page saw since it was loaded; a script that failed before leaves a page that is never ready."""
        self._gather()
        found, self._kept = self._kept, []
        return found

    def asked(self) -> list[str]:
        """As the pages' own account of their loading has them."""
        self._gather()
        found, self._seen = self._seen, []
        return found

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(httpx.HTTPError):
            self._client.delete(f"/session/{self._session}")
        self._client.close()
        self._end()

    def _gather(self) -> None:
        script = """return [(window.wrongs ?? []).splice(0),
            performance.getEntries().map((one) => one.name).filter((one) => /^[a-z]+:/.test(one))]"""
        wrongs, asked = self.run(script)
        self._kept += wrongs
        self._seen += asked

    def _value(self, answer: httpx.Response) -> Any:
        value = answer.json()["value"]
        if answer.status_code >= 400:
            raise AssertionError(f"{value['error']}: {value['message']}")
        return value

    def _screen(self) -> str:
        """Start a screen; it tells its own number when it is there."""
        there, told = os.pipe()
        command = ["Xvfb", "-displayfd", str(told), "-screen", "0", "1400x1100x24", "-nolisten", "tcp"]
        self._children.append(subprocess.Popen(command, pass_fds=[told], stdout=self._log, stderr=subprocess.STDOUT))
        os.close(told)
        with os.fdopen(there) as numbers:
            return f":{numbers.readline().strip()}"

    def _end(self) -> None:
        for one in reversed(self._children):
            end(one)
        self._log.close()


def connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to what a program that was just started listens on."""
    limit = time.monotonic() + START_LIMIT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                raise
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that this module started."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


BROWSERS: dict[str, type[Firefox | WebKit]] = {"firefox": Firefox, "webkit": WebKit}
"""By the names that tests and pictures use."""
