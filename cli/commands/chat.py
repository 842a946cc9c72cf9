"""A conversation with a deployed model, streamed."""

import json
import sys
from typing import Annotated, Any

import typer

from cli.command_group import CommandGroup
from cli.failures import CommandFailed, ExitCode, wrong_usage
from cli.session import ApiUrl, AsJson, Session, opened
from cli.text import printable

PATH = "/v1/chat/completions"
END_OF_STREAM = "[DONE]"


def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Code, id or Hugging Face id of a deployed model.")],
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="Default: standard input.")] = None,
    *,
    system: Annotated[str | None, typer.Option(help="Instructions that precede the conversation.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 is the most likely answer.")] = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Ask MODEL. Without a prompt, at a terminal: a conversation. Ctrl-C stops an answer, Ctrl-D ends the conversation."""
    settings = {"max_tokens": max_tokens, "temperature": temperature}
    request: dict[str, Any] = {"model": model} | {name: value for name, value in settings.items() if value is not None}
    messages = [{"role": "system", "content": system}] if system else []
    with opened(as_json=as_json, api_url=api_url) as session:
        if prompt is None and sys.stdin.isatty() and not as_json:
            _converse(session, request, messages)
            return
        question = sys.stdin.read() if prompt is None else prompt
        if not question.strip():
            raise wrong_usage("there is no prompt: give one, or write it to standard input", code="NO_PROMPT")
        messages.append({"role": "user", "content": question})
        if as_json:
            session.screen.json(session.api.send("POST", PATH, body={**request, "messages": messages}))
            return
        _, interrupted = _answer(session, request, messages)
        if interrupted:
            raise typer.Exit(ExitCode.INTERRUPTED)


def _converse(session: Session, request: dict[str, Any], messages: list[dict[str, str]]) -> None:
    import readline  # noqa: F401, PLC0415  (line editing for `input`, which finds it by itself)

    session.screen.note(f"Talking to {request['model']}. Ctrl-C stops an answer, Ctrl-D ends the conversation.")
    while True:
        try:
            question = input("> ")
        except EOFError:
            session.screen.note("")
            return
        if not question.strip():
            continue
        messages.append({"role": "user", "content": question})
        try:
            answer, interrupted = _answer(session, request, messages)
        except CommandFailed as failure:
            session.screen.failure(failure)
            messages.pop()
            continue
        messages.append({"role": "assistant", "content": answer or "…"})
        if interrupted:
            session.screen.note("(stopped)")


def _answer(session: Session, request: dict[str, Any], messages: list[dict[str, str]]) -> tuple[str, bool]:
    """What the model said, written as it came, and whether Ctrl-C cut it short (which stops the model, too).

    Raises CommandFailed when the API refuses or the stream breaks.
    """
    import httpx  # noqa: PLC0415

    from cli.api_client import GENERATION_SILENCE_S  # noqa: PLC0415
    from cli.event_stream import EventTooLarge, events_of  # noqa: PLC0415

    said: list[str] = []
    interrupted = finished = False
    body = {**request, "messages": messages, "stream": True}
    try:
        with session.api.stream("POST", PATH, body=body, silence_s=GENERATION_SILENCE_S) as response:
            for event in events_of(response):
                if event.data == END_OF_STREAM:
                    finished = True
                    break
                said.append(_piece(event.data, response.headers.get("x-request-id")))
                session.screen.out.write(printable(said[-1], multiline=True))
                session.screen.out.flush()
    except KeyboardInterrupt:
        interrupted = True
    except httpx.TransportError as error:
        _end_line(session, said)
        raise session.api.unreachable(error) from None
    except EventTooLarge:
        raise CommandFailed("the API sent a piece of text without end", code="BAD_STREAM") from None
    _end_line(session, said)
    if not (finished or interrupted):
        raise CommandFailed(
            "the answer was cut short: the stream ended before it was finished",
            code="STREAM_INTERRUPTED",
            request_id=response.headers.get("x-request-id"),
        )
    return "".join(said), interrupted


def _end_line(session: Session, said: list[str]) -> None:
    if not "".join(said).endswith("\n"):
        session.screen.out.write("\n")
        session.screen.out.flush()


def _piece(data: str, request_id: str | None) -> str:
    """The text of one chunk. Raises CommandFailed for an error sent in the middle of the stream, or for what is no chunk."""
    try:
        chunk = json.loads(data)
    except ValueError:
        raise CommandFailed("the API sent a chunk that is no JSON", code="BAD_STREAM", request_id=request_id) from None
    error = chunk.get("error")
    if isinstance(error, dict):
        raise CommandFailed(
            str(error.get("message") or "the model server failed"),
            code=str(error.get("code") or error.get("type") or "UPSTREAM_ERROR"),
            request_id=request_id,
        )
    choices = chunk.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


COMMANDS = CommandGroup((chat,), place=40)
