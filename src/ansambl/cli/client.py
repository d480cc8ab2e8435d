"""Talking to the running Ansambl: found by its state file, proven by its process, allowed by its token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from ansambl.api import PREFIX
from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.running_state import RunningState, read_state
from ansambl.dialects.openai_chat import Delta, read_event, stream_data
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak
from ansambl.foundation.paths import DataPaths

_PATIENCE = 10.0


class NotRunningError(AnsamblError):
    """No Ansambl runs on the data folder."""


class AnsweredError(AnsamblError):
    """Ansambl answered with an error; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(text("{message}", message=message))
        self.status = status
        self.exit_code = 2 if 400 <= status < 500 else 3 if status == 501 else 1


def running_state(paths: DataPaths) -> RunningState:
    """How the running Ansambl is reached.

    Raises:
        NotRunningError: none runs on this data folder.
    """
    state = read_state(paths)
    if state is None:
        raise NotRunningError(text("Ansambl is not running; start it with: ansambl up"))
    return state


class Client:
    """Calls of the running Ansambl. Blocks; use it as a context manager."""

    def __init__(self, state: RunningState) -> None:
        self.state = state
        self.sources: list[dict[str, Any]] = []
        """The passages that the last answer of `stream_chat` could rest on."""
        self._http = httpx.Client(
            base_url=state.address,
            headers={"authorization": f"Bearer {state.token}", "accept-language": speak.language},
            timeout=httpx.Timeout(_PATIENCE),
            # A proxy of the environment must not stand between two processes of one machine.
            trust_env=False,
            verify=state.verification(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def state_document(self) -> dict[str, Any]:
        """What is running now."""
        return self._call("GET", f"{PREFIX}/state")

    def stop(self) -> None:
        """Ask Ansambl to stop; returns at once."""
        self._call("POST", f"{PREFIX}/stop")

    def change_instance(self, model: str, what: str) -> dict[str, Any]:
        """Have an instance wake, sleep (``sleep?level=2``) or stop; returns what it is then. May take minutes."""
        return self._call("POST", f"{PREFIX}/instances/{quote(model, safe='')}/{what}", patient=True)

    def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a chat completion request would be turned into, and why."""
        return self._call("POST", f"{PREFIX}/explain", request)

    def admin(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, patient: bool = False
    ) -> dict[str, Any]:
        """Any other call of the admin API, by its path below the API's own. A `patient` one may take minutes."""
        return self._call(method, f"{PREFIX}{path}", body, patient=patient)

    def stream_chat(self, request: Mapping[str, Any]) -> Iterator[Delta]:
        """Ask for a chat completion and yield what comes, until the stream ends.

        Afterwards `sources` holds the passages that the role was given.

        Raises:
            AnsweredError: the request was refused, or the answer failed on the way.
            AnsamblError: the connection failed.
        """
        self.sources = []
        body = {**request, "stream": True, "stream_options": {"include_usage": True}}
        try:
            # Loading a model and long prompts take minutes before the first byte.
            with self._http.stream(
                "POST", "/v1/chat/completions", json=body, timeout=httpx.Timeout(_PATIENCE, read=None)
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _answered(answer)
                for data in stream_data(line.encode() for line in answer.iter_lines()):
                    if b'"sources"' in data:
                        self.sources = _sources(data) or self.sources
                    delta = read_event(data)
                    if delta is not None and delta.error is not None:
                        raise AnsweredError(str(delta.error.get("message", delta.error)), 502)
                    if delta is not None:
                        yield delta
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, patient: bool = False
    ) -> dict[str, Any]:
        # A large model loads for minutes.
        patience = httpx.Timeout(_PATIENCE, read=None if patient else _PATIENCE)
        try:
            answer = self._http.request(method, path, json=body, timeout=patience)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            raise _answered(answer)
        found = answer.json()
        return found if isinstance(found, dict) else {}

    def _unreachable(self, error: httpx.HTTPError) -> AnsamblError:
        return AnsamblError(
            text(
                "Ansambl at {address} (process {pid}) does not answer ({reason}); see: ansambl logs",
                address=self.state.address,
                pid=self.state.pid,
                reason=str(error) or type(error).__name__,
            )
        )


def _answered(answer: httpx.Response) -> AnsweredError:
    try:
        found = json.loads(answer.content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        found = f"HTTP {answer.status_code}"
    return AnsweredError(str(found), answer.status_code)


def _sources(data: bytes) -> list[dict[str, Any]]:
    """The sources that an event of a stream tells; a model may write that word, too, so most tell none."""
    try:
        found = json.loads(data)["ansambl"]["sources"]
    except (ValueError, KeyError, TypeError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def connect(config: Path | None = None) -> Client:
    """A client for the Ansambl that runs on the data folder which the configuration names.

    Raises:
        NotRunningError: there is none.
        ConfigurationError: the configuration file cannot be read.
    """
    return Client(running_state(load_data_paths(config)))
