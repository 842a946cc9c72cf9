"""What handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request

from api.composition import AppState


def get_state(request: Request) -> AppState:
    state: AppState = request.app.state.quarterdeck
    return state


State = Annotated[AppState, Depends(get_state)]
