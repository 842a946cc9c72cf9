"""How a command ends when it does not succeed: one exception, and the exit codes that scripts rely on."""

from collections.abc import Mapping, Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Stable: a number never changes its meaning."""

    OK = 0
    FAILURE = 1
    USAGE = 2  # the command as given can never work: a wrong option, or a value that the API refuses
    NOT_FOUND = 3
    AUTH = 4  # no key, a key that is not valid, or one without the permission
    CONFLICT = 5
    BUDGET = 6
    STILL_RUNNING = 7  # the command stopped watching; the operation goes on, and its id was printed
    INTERRUPTED = 130  # Ctrl-C where nothing goes on


_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.AUTH,
    402: ExitCode.BUDGET,
    403: ExitCode.AUTH,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    415: ExitCode.USAGE,
    422: ExitCode.USAGE,
}

_BY_CODE = dict.fromkeys(
    ("INVALID_MODEL", "UNKNOWN_PROVIDER", "INVALID_ZONE", "INVALID_INSTANCE_TYPE"), ExitCode.NOT_FOUND
)
"""Orders that name something which does not exist: the API answers 400, since the path was found (contract/fleet.md)."""


def exit_code_of(status: int, code: str | None = None) -> ExitCode:
    """The exit code for an HTTP status that is not a success, and the code of the error."""
    return _BY_CODE.get(code or "") or _BY_STATUS.get(status, ExitCode.FAILURE)


class CommandFailed(Exception):
    """What a person and a script learn of a failure. `status` and `request_id` are the API's; None when it had no part.

    `hints` are sentences or commands for a person; programs branch on `code` and `exit_code`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        exit_code: ExitCode = ExitCode.FAILURE,
        status: int | None = None,
        request_id: str | None = None,
        operation_id: str | None = None,
        details: Mapping[str, object] | None = None,
        hints: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.exit_code = exit_code
        self.status = status
        self.request_id = request_id
        self.operation_id = operation_id
        self.details = dict(details or {})
        self.hints = list(hints)

    def as_json(self) -> dict[str, object]:
        """The shape that `--json` writes to standard error."""
        return {
            "error": self.message,
            "code": self.code,
            "status": self.status,
            "request_id": self.request_id,
            "operation_id": self.operation_id,
            "details": self.details,
            "exit_code": int(self.exit_code),
        }


def wrong_usage(message: str, *, code: str = "USAGE", hints: Sequence[str] = ()) -> CommandFailed:
    return CommandFailed(message, code=code, exit_code=ExitCode.USAGE, hints=hints)
