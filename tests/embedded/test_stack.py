"""What the stack hands to each of its programs, looked at without starting any."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from models.settings import SettingsError, load_settings
from tests.embedded.driver import environment
from workers.embedded.home import open_home
from workers.embedded.stack import Programs, Stack

KEY = "Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"
SUPERUSERS = "postgresql://boss:unguessable@db.example:5432/deck?sslmode=require"
Given = dict[str, dict[str, str]]


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in environment(tmp_path / "home", QUARTERDECK_INSTALLATION_KEY=KEY).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def given_to_each() -> Given:
    """Everything about the database in the environment of each program."""
    settings = load_settings()
    stack = Stack(settings, open_home(settings.home), Programs())
    specs = [part.prepare() for part in (stack.api(), stack.worker(), stack.simcloud())]
    specs += [stack.setup("migrate", ("true",)), stack.setup("bootstrap", ("true",))]
    return {spec.name: {name: url for name, url in spec.env.items() if "database" in name.lower()} for spec in specs}


@pytest.mark.parametrize("name", ["QUARTERDECK_DATABASE_URL", "quarterdeck_database_url"])
def test_the_superusers_url_goes_to_what_ends_and_to_nothing_that_stays(
    variables: pytest.MonkeyPatch, name: str
) -> None:
    variables.setenv(name, SUPERUSERS)
    given = given_to_each()
    assert given["migrate"]["QUARTERDECK_DATABASE_URL"] == given["bootstrap"]["QUARTERDECK_DATABASE_URL"] == SUPERUSERS
    assert given["simcloud"] == {}
    for part in ("api", "worker"):
        [(variable, url)] = given[part].items()
        assert variable == f"QUARTERDECK_DATABASE_URL_{part.upper()}"
        assert urlsplit(url).username == f"quarterdeck_{part}"
        assert (urlsplit(url).hostname, urlsplit(url).query) == ("db.example", "sslmode=require")


def test_urls_that_an_operator_chose_are_handed_on(variables: pytest.MonkeyPatch) -> None:
    chosen = {f"QUARTERDECK_DATABASE_URL_{role}": f"postgresql://{role}:chosen@h/d" for role in ("API", "WORKER")}
    for name, url in {**chosen, "QUARTERDECK_DATABASE_URL": SUPERUSERS}.items():
        variables.setenv(name, url)
    given = given_to_each()
    for role in ("API", "WORKER"):
        variable = f"QUARTERDECK_DATABASE_URL_{role}"
        assert given[role.lower()] == {variable: chosen[variable]}
        assert given["migrate"][variable] == chosen[variable]


@pytest.mark.parametrize("missing", ["", "_API", "_WORKER"])
def test_in_production_nothing_starts_without_every_url(variables: pytest.MonkeyPatch, missing: str) -> None:
    for suffix in {"", "_API", "_WORKER"} - {missing}:
        variables.setenv(f"QUARTERDECK_DATABASE_URL{suffix}", SUPERUSERS)
    variables.setenv("QUARTERDECK_TEMPORAL_ADDRESS", "127.0.0.1:1")
    variables.setenv("QUARTERDECK_ENVIRONMENT", "production")
    variables.setattr(Stack, "_refuse_unreachable_temporal", lambda _self: None)
    settings = load_settings()
    with pytest.raises(SettingsError, match=f"QUARTERDECK_DATABASE_URL{missing} is not set"):
        Stack(settings, open_home(settings.home), Programs())
