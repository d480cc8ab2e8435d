"""The errors that users meet: each says what, why and what to do, in one line, in the user's language."""

from __future__ import annotations

from ansambl.domain.text import Text


class AnsamblError(Exception):
    """Something failed in a way that a user can understand.

    `exit_code` is what a command ends with (DESIGN section 10), `status` and `code` are what an HTTP answer carries.
    """

    exit_code: int = 1
    status: int = 500
    type: str = "api_error"
    code: str | None = None

    def __init__(self, message: Text, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message.render()


class UsageError(AnsamblError):
    """Bad usage or a bad configuration."""

    exit_code = 2
    status = 400
    type = "invalid_request_error"


class ConfigurationError(UsageError):
    """The configuration file cannot be used; names the key and the line.

    `keys` are the paths of the keys that it is about, the likeliest first, where whoever raises it does not know the
    file: who does adds the line. A number in a path is an element of a list.
    """

    def __init__(self, message: Text, *, keys: tuple[tuple[str | int, ...], ...] = ()) -> None:
        super().__init__(message)
        self.keys = keys


class RequestError(AnsamblError):
    """A request that can never succeed as it is."""

    exit_code = 2
    status = 400
    type = "invalid_request_error"


class BodyTooLargeError(RequestError):
    """The request's body is over the limit."""

    status = 413
    code = "request_too_large"


class UnknownNameError(RequestError):
    """No role, ensemble or model has this name."""

    status = 404
    code = "model_not_found"


class NotFoundError(RequestError):
    """What was asked for by its name or number is not there: a document, a collection, a conversation."""

    status = 404
    code = "not_found"


class NotSupportedError(AnsamblError):
    """This machine, engine or checkpoint cannot do it."""

    exit_code = 3
    status = 501
    type = "not_supported_error"


class UnavailableError(AnsamblError):
    """Cannot be answered now, perhaps later; `retry_after` is in seconds, None where waiting alone changes nothing."""

    status = 503
    type = "service_unavailable_error"
    code = "engine_unavailable"

    def __init__(self, message: Text, *, code: str | None = None, retry_after: int | None = 5) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class LoadFailedError(UnavailableError):
    """An engine could not be started, or did not stay; `out_of_memory` tells whether more room would have helped."""

    def __init__(self, message: Text, *, out_of_memory: bool, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)
        self.out_of_memory = out_of_memory


class EngineError(AnsamblError):
    """The engine failed in the middle of an answer, or refused to give one.

    `retry_after` are the seconds after which it wants to be asked again, None where it says none.
    """

    retry_after: int | None = None

    status = 502
    type = "engine_error"
    code = "engine_failed"


class CheckpointError(AnsamblError):
    """A model file is missing, truncated or damaged."""

    status = 503
    type = "service_unavailable_error"
    code = "checkpoint_unusable"


class DataFolderError(AnsamblError):
    """The data folder cannot be used: no permission, a newer database, another Ansambl running on it."""


class DiskFullError(DataFolderError):
    """The disk of the data folder has no room left; when there is some again, all is well."""

    status = 503
    type = "service_unavailable_error"
    code = "disk_full"
