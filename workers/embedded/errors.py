"""Why the embedded stack cannot start, in one line that says what to do. `quarterdeck up` prints it and exits with 2."""


class StartError(Exception):
    """The message is shown as it is: one line, no secret."""
