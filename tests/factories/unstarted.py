"""The application as it is built, never started: its routes and its document need neither network nor database."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from api.composition import build_state
from models.settings import Settings
from tests.api.conftest import INSTALLATION_KEY


@cache
def unstarted_app() -> FastAPI:
    settings = Settings(
        home=Path("unused"),
        installation_key=SecretStr(INSTALLATION_KEY),
        database_url_api=SecretStr("postgresql://quarterdeck_api@127.0.0.1:1/unused"),
    )
    return create_app(build_state(settings))


def of_nobody(path: str) -> str:
    """A path of the document with an id in the place of each parameter."""
    return re.sub(r"{\w+}", "0198c0de-0000-7000-8000-000000000000", path)
