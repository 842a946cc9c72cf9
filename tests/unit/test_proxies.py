"""Which call goes through which proxy. The agent has its own copy: it is a program of its own."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import models.base.proxies
import node.proxies
from models.base.proxies import UnusableProxy, proxy_for
from tests.proxy import SECRET

OUTSIDE = "https://cloud.example/v1"


def chosen(url: str, **environ: str) -> tuple[str, str] | None:
    """The variable, and the address without credentials."""
    found = proxy_for(url, environ)
    return None if found is None else (found.variable, found.address)


def test_both_copies_are_the_same() -> None:
    files: list[ModuleType] = [models.base.proxies, node.proxies]
    first, second = (Path(str(one.__file__)).read_text() for one in files)
    assert first == second


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https_proxy"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "ALL_PROXY"),
        ({"all_proxy": "http://q:1", "HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": ""}, None),
        ({"https_proxy": "", "HTTPS_PROXY": "http://p:1"}, None),
        ({"ALL_PROXY": "socks5://p:1", "HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY"),
    ],
)
def test_the_scheme_and_the_spelling_decide(environ: dict[str, str], variable: str | None) -> None:
    found = proxy_for(OUTSIDE, environ)
    assert (found.variable if found else None) == variable


@pytest.mark.parametrize(
    "here",
    ["http://127.0.0.1:8000", "http://127.1.2.3", "http://localhost:1", "http://[::1]:8000", "http://0.0.0.0:8000"],
)
@pytest.mark.parametrize("proxy", ["http://p:1", "socks5://p:1", "nonsense://"])
def test_this_machine_has_none(here: str, proxy: str) -> None:
    assert chosen(here, HTTP_PROXY=proxy, ALL_PROXY=proxy) is None


@pytest.mark.parametrize(
    ("excepted", "url", "is_direct"),
    [
        ("*", OUTSIDE, True),
        ("cloud.example", OUTSIDE, True),
        ("CLOUD.example", OUTSIDE, True),
        ("example", OUTSIDE, True),
        (".example", OUTSIDE, True),
        ("*.example", OUTSIDE, True),
        ("a.b, cloud.example", OUTSIDE, True),
        ("a.b cloud.example", OUTSIDE, True),
        ("cloud.example:443", OUTSIDE, True),
        ("cloud.example:8443", OUTSIDE, False),
        ("loud.example", OUTSIDE, False),
        ("cloud", OUTSIDE, False),
        ("", OUTSIDE, False),
        (".", OUTSIDE, False),
        ("cloud.example", "https://cloud.example./v1", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3:8443", True),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", True),
        ("10.1.2.3:8443", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::7]", True),
        ("[fd00::7]:443", "https://[fd00::7]", True),
        ("10.0.0.0/8", OUTSIDE, False),
    ],
)
def test_what_is_excepted_has_none(excepted: str, url: str, *, is_direct: bool) -> None:
    assert (chosen(url, HTTPS_PROXY="http://p:1", NO_PROXY=excepted) is None) == is_direct


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("http://p.example:3128", "http://p.example:3128"),
        ("p.example:3128", "http://p.example:3128"),
        ("http://p.example", "http://p.example:80"),
        ("https://p.example/", "https://p.example:443"),
        (f"http://me:{SECRET}@p.example:3128", "http://p.example:3128"),
        (f"http://me:{SECRET}%40@[fd00::1]:3128", "http://[fd00::1]:3128"),
    ],
)
def test_an_address_is_told_without_credentials(value: str, address: str) -> None:
    found = proxy_for(OUTSIDE, {"HTTPS_PROXY": value})
    assert found is not None
    assert found.address == address
    assert SECRET not in f"{found} {found!r} {found.address}"
    assert ("@" in value) == (found.credentials is not None)


def test_a_password_may_be_written_as_it_is() -> None:
    found = proxy_for(OUTSIDE, {"HTTPS_PROXY": "http://corp\\me:p@ss%2Fw:rd@p.example:3128"})
    assert found is not None
    assert found.credentials == ("corp\\me", "p@ss/w:rd")
    assert found.url == "http://corp%5Cme:p%40ss%2Fw%3Ard@p.example:3128"


@pytest.mark.parametrize(
    "value", [f"socks5://me:{SECRET}@p:1", f"ftp://{SECRET}", f"http://me:{SECRET}#@p:1", "http://:1"]
)
def test_what_cannot_be_used_is_one_line_with_the_variable(value: str) -> None:
    with pytest.raises(UnusableProxy) as refused:
        proxy_for(OUTSIDE, {"ALL_PROXY": value})
    assert "ALL_PROXY" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)
