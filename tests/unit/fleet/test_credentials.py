"""What counts as a credential, in which order, and which requests come from another site's page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.security.credentials import credentials, is_cross_origin

COOKIE = "session"


def tokens(*headers: tuple[bytes, bytes]) -> list[tuple[str, bool]]:
    return [(each.token, each.ambient) for each in credentials(headers, COOKIE)]


def test_the_order_is_cookie_key_bearer_whatever_the_order_of_the_headers():
    headers = ((b"authorization", b"Bearer b"), (b"x-api-key", b"k"), (b"cookie", b"session=c"))
    assert tokens(*headers) == [("c", True), ("k", False), ("b", False)]
    assert tokens(*reversed(headers)) == tokens(*headers)


@pytest.mark.parametrize(
    ("cookie", "found"),
    [
        (b"session=a", "a"),
        (b"x=1; session=a; y=2", "a"),
        (b'session="a"', "a"),
        (b"session=a; session=b", "a"),
        (b"xsession=a", None),
        (b"session", None),
        (b"session=", None),
        (b"", None),
        (b"a=session=b", None),
        (b"session=\xff", None),
    ],
)
def test_cookies(cookie: bytes, found: str | None):
    assert tokens((b"cookie", cookie)) == ([(found, True)] if found else [])


@pytest.mark.parametrize("value", [b"Bearer", b"Bearer ", b"Basic abc", b"abc", b"bearerabc"])
def test_what_is_no_bearer(value: bytes):
    assert tokens((b"authorization", value)) == []


@given(st.lists(st.tuples(st.sampled_from([b"cookie", b"authorization", b"x-api-key", b"x"]), st.binary(max_size=60))))
def test_no_header_breaks_it(headers: list[tuple[bytes, bytes]]):
    for each in credentials(headers, COOKIE):
        assert each.token
        assert each.token.isascii()
    assert is_cross_origin("POST", headers) in {True, False}


def test_a_credential_does_not_show_its_token():
    (credential,) = credentials([(b"x-api-key", b"secret-token")], COOKIE)
    assert "secret-token" not in repr(credential)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", [(b"sec-fetch-site", b"cross-site")], False),
        ("POST", [(b"sec-fetch-site", b"cross-site")], True),
        ("DELETE", [(b"sec-fetch-site", b"same-site")], True),
        ("POST", [(b"sec-fetch-site", b"same-origin"), (b"origin", b"https://evil.example")], False),
        ("POST", [(b"origin", b"https://api.example"), (b"host", b"api.example")], False),
        ("POST", [(b"origin", b"https://api.example:8443"), (b"host", b"api.example")], True),
        ("POST", [(b"origin", b"HTTPS://API.example"), (b"host", b"api.EXAMPLE")], False),
        ("POST", [(b"origin", b"null"), (b"host", b"api.example")], True),
        ("POST", [(b"origin", b"http://[::1"), (b"host", b"api.example")], True),
        ("POST", [(b"host", b"api.example")], False),
        ("POST", [], False),
    ],
)
def test_cross_origin(method: str, headers: list[tuple[bytes, bytes]], expected: bool):
    assert is_cross_origin(method, headers) is expected
