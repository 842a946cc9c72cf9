"""The configuration: what is refused, what follows from what, and that no secret shows."""

import os
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from models.settings import Environment, Settings, SettingsError, derived, load_settings, reference
from models.settings.derived import DatabaseRole

KEY = "Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"
OTHER_KEY = "YW5vdGhlciBvbmUgZm9yIHRlc3RzLCAzMiBieXRlcyE"
PRODUCTION = {
    "QUARTERDECK_ENVIRONMENT": "production",
    "QUARTERDECK_INSTALLATION_KEY": KEY,
    "QUARTERDECK_TEMPORAL_ADDRESS": "t:7233",
}
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_document_is_the_settings() -> None:
    assert DOCUMENT.read_text() == reference.markdown(), "run `make docs`"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_nothing_needs_to_be_set_for_development() -> None:
    settings = load_settings()
    assert settings.home == Path.cwd() / ".quarterdeck"
    assert derived.public_url(settings) == derived.control_plane_url(settings) == "http://127.0.0.1:8000"
    assert derived.llm_base_url(settings) == "http://127.0.0.1:8000/v1"
    assert derived.temporal_address(settings) == "127.0.0.1:7233"
    assert derived.instances_dir(settings).is_relative_to(settings.home)


@pytest.mark.parametrize(
    ("set_to", "port"),
    [({}, 8900), ({"api_port": 8001}, 8901), ({"api_port": 65_000}, 64_100), ({"simcloud_port": 9000}, 9000)],
)
def test_stacks_side_by_side_have_a_simulated_cloud_each(set_to: dict[str, Any], port: int) -> None:
    settings = Settings(**set_to)
    assert derived.simcloud_port(settings) == port
    assert derived.simcloud_url(settings) == f"http://127.0.0.1:{port}"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().api_port = 1  # type: ignore[misc]


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_DATABASE_URL", "")
    assert load_settings().database_url is None


def test_no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "planted-5d1c"
    monkeypatch.setenv("QUARTERDECK_INSTALLATION_KEY", KEY)
    for name in ("DATABASE_URL", "DATABASE_URL_WORKER", "DATABASE_URL_API"):
        monkeypatch.setenv(f"QUARTERDECK_{name}", f"postgresql://u:{secret}@h/d")
    for name in ("SIMCLOUD_TOKEN", "TEMPORAL_API_KEY"):
        monkeypatch.setenv(f"QUARTERDECK_{name}", secret)
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert secret not in text
        assert KEY not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "0"),
        ("API_PORT", "planted"),
        ("ENVIRONMENT", "planted"),
        ("TRUSTED_PROXIES", "10.0.0.1,planted.example"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "*,10.0.0.1"),
        ("PUBLIC_URL", "planted.example"),
        ("PUBLIC_URL", "ftp://planted"),
        ("PUBLIC_URL", "https://user@planted"),
        ("INSTALLATION_KEY", "planted"),
        ("INSTALLATION_KEY", "A" * 43),
        ("INSTALLATION_KEY_PREVIOUS", "planted"),
        ("DATABASE_URL", "mysql://u:planted@h/d"),
        ("DATABASE_URL_API", "postgresql://u:planted@h"),
        ("WORKER_STALE_SECONDS", "9"),
        ("REQUEST_BODY_LIMIT_BYTES", "planted"),
        ("CORS_ORIGINS", "planted.example"),
        ("CORS_ORIGINS", "https://planted.example/"),
        ("CORS_ORIGINS", "https://Planted.example"),
        ("CORS_ORIGINS", "https://planted.example:443"),
        ("CORS_ORIGINS", "https://user@planted.example"),
        ("CORS_ORIGINS", "https://planted.example:port"),
        ("CORS_ORIGINS", "ftp://planted.example"),
        ("CORS_ORIGINS", "*"),
        ("DRAIN_TIMEOUT_S", "-1"),
        ("DRAIN_TIMEOUT_S", "nan"),
    ],
)
def test_a_bad_value_names_its_variable_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    text = refused(monkeypatch, **{f"QUARTERDECK_{name}": value})
    assert f"QUARTERDECK_{name}" in text
    assert "planted" not in text


def test_half_a_client_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TLS_CERT_FILE" in refused(monkeypatch, QUARTERDECK_TEMPORAL_TLS_KEY_FILE="/key.pem")


@pytest.mark.parametrize("missing", ["QUARTERDECK_INSTALLATION_KEY", "QUARTERDECK_TEMPORAL_ADDRESS"])
def test_production_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    variables = {name: value for name, value in PRODUCTION.items() if name != missing}
    assert f"{missing} must be set" in refused(monkeypatch, **variables)


@pytest.mark.parametrize("proxies", ["", "*", "10.0.0.5", " 10.0.0.5 , 192.0.2.0/24, 2001:db8::/32,"])
def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("QUARTERDECK_TRUSTED_PROXIES", proxies)
    assert load_settings().trusted_proxies == proxies


@pytest.mark.parametrize("origins", ["", "https://a.example", "http://localhost:3000 , https://b.example:8443,"])
def test_origins_are_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("QUARTERDECK_CORS_ORIGINS", origins)
    assert load_settings().cors_origins == origins


@pytest.mark.parametrize("password", ["", ":", ":postgres", ":changeme", ":Quarterdeck"])
def test_production_refuses_the_passwords_of_examples(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    url = f"postgresql://quarterdeck_api{password}@db/quarterdeck"
    assert "password is refused" in refused(monkeypatch, **PRODUCTION, QUARTERDECK_DATABASE_URL_API=url)


def test_production_derives_no_database_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PRODUCTION, "QUARTERDECK_DATABASE_URL": "postgresql://o:unguessable@h/d"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert derived.admin_url(settings) == "postgresql://o:unguessable@h/d"
    for role in DatabaseRole:
        with pytest.raises(SettingsError, match="is not set"):
            derived.database_url(settings, role)


def test_each_role_has_its_own_url_and_password_on_the_same_server() -> None:
    settings = Settings(installation_key=KEY, database_url="postgresql://owner:pw@[::1]:5433/d?sslmode=require")
    worker, api = (derived.database_url(settings, role) for role in (DatabaseRole.WORKER, DatabaseRole.API))
    assert worker.startswith("postgresql://quarterdeck_worker:")
    assert api.startswith("postgresql://quarterdeck_api:")
    assert worker.partition("@")[2] == api.partition("@")[2] == "[::1]:5433/d?sslmode=require"
    assert worker.split("@")[0].split(":")[2] != api.split("@")[0].split(":")[2]
    other = Settings(installation_key=OTHER_KEY, database_url="postgresql://owner:pw@[::1]:5433/d?sslmode=require")
    assert derived.database_url(other, DatabaseRole.WORKER) != worker


def test_becoming_the_owner_role_keeps_what_the_url_says() -> None:
    url = derived.as_owner("postgresql://m:p%40ss@h:5433/d?sslmode=require&options=-c%20statement_timeout%3D5s")
    assert url.startswith("postgresql://m:p%40ss@h:5433/d?")
    found = conninfo_to_dict(url)
    assert found["sslmode"] == "require"
    assert found["options"] == "-c statement_timeout=5s -c role=quarterdeck_owner"
    assert conninfo_to_dict(derived.as_owner("postgresql://m:p@h/d"))["options"] == "-c role=quarterdeck_owner"


def test_the_embedded_superuser_is_read_from_a_file_that_only_we_could_read(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    record = tmp_path / derived.POSTGRES_FILE
    with pytest.raises(SettingsError, match="no embedded server"):
        derived.admin_url(settings)
    record.write_text('{"port": 5433, "password": "pass/word"}')
    record.chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        derived.admin_url(settings)
    record.chmod(0o600)
    assert derived.admin_url(settings) == "postgresql://postgres:pass%2Fword@127.0.0.1:5433/quarterdeck"
    with pytest.raises(SettingsError, match="QUARTERDECK_DATABASE_URL is not set"):
        derived.admin_url(
            Settings(home=tmp_path, environment=Environment.PRODUCTION, installation_key=KEY, temporal_address="t:7233")
        )


def test_the_key_of_the_home_is_used_where_none_is_set(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(SettingsError, match="does not exist"):
        derived.installation_key(settings)
    (tmp_path / derived.KEY_FILE).write_text(KEY + "\n")
    (tmp_path / derived.KEY_FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        derived.installation_key(settings)
    (tmp_path / derived.KEY_FILE).chmod(0o600)
    assert derived.installation_key(settings) == derived.installation_key(Settings(installation_key=KEY))
    (tmp_path / derived.KEY_FILE).write_text("planted")
    with pytest.raises(SettingsError) as caught:
        derived.installation_key(settings)
    assert "planted" not in str(caught.value)


def test_tests_see_no_variable_of_the_developer() -> None:
    assert [name for name in os.environ if name.startswith("QUARTERDECK_")] == []


@pytest.mark.parametrize("url", ["http://deck.example", "http://10.0.0.1:8000", "http://localhost.example"])
def test_production_sends_no_password_in_clear_text(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    line = refused(monkeypatch, **PRODUCTION, QUARTERDECK_PUBLIC_URL=url)
    assert "QUARTERDECK_PUBLIC_URL" in line
    assert url not in line


def test_production_on_every_address_says_what_its_public_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "QUARTERDECK_PUBLIC_URL" in refused(monkeypatch, **PRODUCTION, QUARTERDECK_API_HOST="0.0.0.0")  # noqa: S104


@pytest.mark.parametrize(
    "url", ["https://deck.example", "http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost"]
)
def test_production_takes_https_and_loopback(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in (PRODUCTION | {"QUARTERDECK_PUBLIC_URL": url}).items():
        monkeypatch.setenv(name, value)
    assert load_settings().public_url == url
