"""A route is another one when what its handler calls has changed, however far below it lies."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.unstarted import unstarted_app
from tests.fuzz.changed import Modules, made_of

SOURCES = {
    "api/routers/toys.py": "from api import commands\nfrom models.repositories import toys\n",
    "api/commands.py": "from models.repositories.keys import keep\n",
    "models/repositories/toys.py": "import models.domain.sizes\n",
    "models/repositories/keys.py": "",
    "models/repositories/lamps.py": "",
    "models/domain/sizes/__init__.py": "from models.domain.sizes.shoes import FITS\n",
    "models/domain/sizes/shoes.py": "FITS = 1\n",
    "models/tables/toys.py": "",
}


@pytest.fixture
def behind(tmp_path: Path) -> Callable[[], dict[str, str]]:
    for path, text in SOURCES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return lambda: Modules(tmp_path).behind({"api.routers.toys"})


@pytest.mark.parametrize(
    "path",
    [
        "api/commands.py",
        "models/repositories/toys.py",
        "models/repositories/keys.py",
        "models/domain/sizes/__init__.py",
        "models/domain/sizes/shoes.py",
    ],
)
def test_a_module_that_is_reached_is_seen(tmp_path: Path, behind: Callable[[], dict[str, str]], path: str) -> None:
    before = behind()
    (tmp_path / path).write_text(SOURCES[path] + "X = 2\n")
    assert behind() != before


def test_another_is_not(tmp_path: Path, behind: Callable[[], dict[str, str]]) -> None:
    before = behind()
    (tmp_path / "models/repositories/lamps.py").write_text("X = 2\n")
    assert behind() == before


def test_a_changed_repository_changes_its_routes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    app, catalogue = unstarted_app(), "models/repositories/fleet/catalog.py"
    before, read_text = made_of(app), Path.read_text

    def changed(path: Path, *options: str) -> str:
        text = read_text(path, *options)
        return f"{text}\nX = 2\n" if path.as_posix().endswith(catalogue) else text

    monkeypatch.setattr(Path, "read_text", changed)
    after = made_of(app)
    others = {route for route, made in after.items() if made == before[route]}
    assert {"GET /zones/search", "GET /models"} <= after.keys() - others
    assert {"GET /api_keys", "POST /auth/login", "GET /operations"} <= others
