"""What makes a configuration refused, each with the line that the operator reads. No message repeats a value."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from models.base.addresses import listed
from models.base.hosts import is_loopback
from models.domain.keys import decode_installation_key

POSTGRES_SCHEMES = frozenset({"postgresql", "postgres"})
PUBLIC_PASSWORDS = frozenset(
    {"", "changeme", "changethis", "password", "postgres", "quarterdeck", "secret", "temporal"}
)
"""Passwords of examples and default images: whoever reads the documentation knows them."""

CREATE_KEY = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'`"

FEWEST_DISTINCT_BYTES = 16
"""32 random bytes hold fewer distinct ones with a probability below 1e-12: such a key was typed, not drawn."""


def refuse_bad_keys(*, installation_key: SecretStr | None, previous: SecretStr | None) -> None:
    for name, secret in (("", installation_key), ("_PREVIOUS", previous)):
        variable = f"QUARTERDECK_INSTALLATION_KEY{name}"
        if secret is None:
            continue
        try:
            key = decode_installation_key(secret.get_secret_value())
        except ValueError as error:
            raise ValueError(f"{variable}: {error}") from None
        if len(set(key)) < FEWEST_DISTINCT_BYTES:
            raise ValueError(f"{variable}: this key is not random; {CREATE_KEY} prints a good one")


def http_url(text: str) -> str:
    """The URL without a trailing slash. Raises ValueError for anything that is not http(s) with a host."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("expected http://host[:port] or https://host[:port], without user, query or fragment")
    return text.rstrip("/")


SHORTEST_RETENTION_S = 3600
"""Of events: who follows a stream and loses the connection has so much time to go on."""


def proxies(text: str) -> str:
    """Raises ValueError for what would silently trust nobody: a host name, a network with bits beyond its prefix."""
    entries = listed(text)
    try:
        if entries != ["*"]:
            for entry in entries:
                ipaddress.ip_network(entry)
    except ValueError:
        raise ValueError("expected addresses and networks such as `10.0.0.5, 192.0.2.0/24`, or `*` alone") from None
    return text


def retentions(text: str) -> str:
    """Raises ValueError for what is no list of kinds with seconds, or keeps something for less than an hour."""
    retentions_of(text)
    return text


def retentions_of(text: str) -> dict[str, float]:
    """Seconds by kind. Raises ValueError."""
    found: dict[str, float] = {}
    for entry in listed(text):
        kind, _, seconds = entry.partition("=")
        if not kind.strip() or not seconds.strip().isdecimal() or int(seconds) < SHORTEST_RETENTION_S:
            raise ValueError(
                "expected kinds of streams and seconds, at least 3600, such as `operation=86400, instance=7200`"
            )
        found[kind.strip()] = float(seconds)
    return found


def origins(text: str) -> str:
    """Raises ValueError for what no browser would send as `Origin`: a path, capitals, a port that the scheme has anyway."""
    for entry in listed(text):
        parts = urlsplit(entry)
        is_default = parts.port == {"http": 80, "https": 443}.get(parts.scheme)
        is_origin = entry == f"{parts.scheme}://{parts.netloc}".lower() and bool(parts.hostname) and "@" not in entry
        if parts.scheme not in {"http", "https"} or not is_origin or is_default:
            raise ValueError("expected origins such as `https://console.example.org, http://localhost:3000`")
    return text


def refuse_clear_text(variable: str, url: str) -> None:
    """Passwords, keys and session cookies travel to this address: in clear text they stay on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{variable} must be an https:// address in production; http:// is for loopback only")


def refuse_half_a_certificate(*, cert: object | None, key: object | None) -> None:
    if (cert is None) != (key is None):
        raise ValueError("QUARTERDECK_TEMPORAL_TLS_CERT_FILE and _KEY_FILE are set together or not at all")


def refuse_other_databases(name: str, url: SecretStr | None) -> None:
    if url is None:
        return
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in POSTGRES_SCHEMES or not parts.path.strip("/"):
        raise ValueError(f"{name}: expected postgresql://user:password@host:port/database")


def refuse_missing(prefix: str, **values: object | None) -> None:
    missing = [prefix + name.upper() for name, value in values.items() if value is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be set when QUARTERDECK_ENVIRONMENT is production")


def refuse_public_passwords(prefix: str, *urls: SecretStr | None) -> None:
    for url in urls:
        if url is not None and (urlsplit(url.get_secret_value()).password or "").lower() in PUBLIC_PASSWORDS:
            raise ValueError(f"{prefix}DATABASE_URL*: a default or missing password is refused in production")


def in_one_line(error: ValidationError, prefix: str) -> str:
    """`QUARTERDECK_API_PORT: Input should be less than or equal to 65535; ...`, without the input."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(_line(problem, prefix) for problem in problems)


def _line(problem: Mapping[str, object], prefix: str) -> str:
    location, message = problem["loc"], str(problem["msg"]).removeprefix("Value error, ")
    variable = f"{prefix}{location[0]}".upper() if isinstance(location, tuple) and location else ""
    return f"{variable}: {message}" if variable else message
