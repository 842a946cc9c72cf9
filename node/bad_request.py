"""The client's mistake, found before the model server meets it: llama.cpp answers some with 500, and others as if nothing was."""


class BadRequest(Exception):
    """`param` is the field at fault, as OpenAI's clients are told it: `messages[0].role`."""

    def __init__(
        self, message: str, param: str | None, *, code: str = "invalid_request_error", status: int = 400
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


def unsupported(message: str, param: str) -> BadRequest:
    """For what OpenAI's API has and this model or its server has not."""
    return BadRequest(message, param, code="not_supported")
