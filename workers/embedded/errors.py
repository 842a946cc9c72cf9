"""Why a command cannot do its work here, in one line that says what to do. It is printed, and the command exits with 2."""


class StartError(Exception):
    """The message is shown as it is: one line, no secret."""


class NotReady(StartError):
    """What was started neither ends nor becomes ready. `up` exits with 1. After the first line come the program's last ones."""
