"""What handlers ask for."""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from api.state import AppState


async def get_state(connection: HTTPConnection) -> AppState:  # a plain function would be sent to a thread, each time
    state: AppState = connection.app.state.quarterdeck
    return state


State = Annotated[AppState, Depends(get_state)]
