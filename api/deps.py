"""What handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request

from api.composition import AppState


async def get_state(request: Request) -> AppState:  # a plain function would be sent to a thread, for every request
    state: AppState = request.app.state.quarterdeck
    return state


State = Annotated[AppState, Depends(get_state)]
