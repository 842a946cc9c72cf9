"""The pure half of the egress policy: addresses, spellings, ports, allow-lists."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from models.base.errors import InvalidRequest
from models.domain.egress import (
    EgressPolicy,
    EgressRefused,
    Ports,
    Target,
    check_port,
    is_public,
    normalize_host,
    parse_url,
)

REFUSED = [
    "0.0.0.0", "0.1.2.3",  # noqa: S104 - an address to refuse
    "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.255.255", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "100.100.100.200",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
    "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip
NAT64 = ip_network("64:ff9b::/96")
ALLOWED = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.17.0.1",
           "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    assert not is_public(ip_address(text))
    with pytest.raises(EgressRefused):
        EgressPolicy().check([ip_address(text)], "name.example")


@pytest.mark.parametrize("text", ALLOWED)
def test_allowed(text: str) -> None:
    assert is_public(ip_address(text))
    EgressPolicy().check([ip_address(text)], "name.example")


@given(st.ip_addresses())
@example(IPv4Address("192.0.0.9"))
@example(IPv6Address("2001:4:112::1"))
def test_nothing_passes_that_the_standard_library_calls_private(address: IPv4Address | IPv6Address) -> None:
    """An oracle of other hands; it may be laxer (6to4, Teredo), never stricter."""
    if is_public(address) and address not in NAT64:
        assert address.is_global
        assert not address.is_private
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_makes_a_refused_ipv4_address_reachable(inner: IPv4Address) -> None:
    assume(not is_public(inner))
    number = int(inner)
    for base, shift in (
        ("::", 0),
        ("::ffff:0:0", 0),
        ("::ffff:0:0:0", 0),
        ("64:ff9b::", 0),
        ("2002::", 80),
        ("64:ff9b:1::", 0),
    ):
        assert not is_public(IPv6Address(int(IPv6Address(base)) | number << shift))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_has_one_spelling(address: IPv4Address) -> None:
    n, parts = int(address), str(address).split(".")
    disguises = {
        str(n),
        hex(n),
        f"0x{n:08X}",
        f"0{n:o}",
        ".".join(f"0{int(part):o}" for part in parts),
        ".".join(f"0x{int(part):02x}" for part in parts),
        f"{parts[0]}.{parts[1]}.{n & 0xFFFF}",
        f"{parts[0]}.{n & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{parts[2]}.0x{int(parts[3]):x}",
        f"00{address}",
        f"{address}.1",
        str(address).replace(".", "%2e"),
    }
    for disguise in disguises:
        with pytest.raises(EgressRefused):
            parse_url(f"http://{disguise}/")
    assert parse_url(f"http://{address}/").host == parse_url(f"http://{address}./").host == str(address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_comes_out_canonical(address: IPv6Address) -> None:
    for spelling in (address.exploded, address.compressed, address.exploded.upper()):
        assert parse_url(f"http://[{spelling}]:8080/x") == Target("http", str(address), 8080)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", Target("http", "example.com", 80)),
        ("HTTPS://EXAMPLE.com.:8443/a?b#c@d", Target("https", "example.com", 8443)),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443)),
        (
            "https://straße.example/",
            Target("https", "xn--strae-oqa.example", 443),
        ),  # IDNA 2008, as httpx: not "strasse"
        ("http://a。b/", Target("http", "a.b", 80)),
        ("http://127.0.0.1:/", Target("http", "127.0.0.1", 80)),
        ("http://my_host.example/", Target("http", "my_host.example", 80)),
    ],
)
def test_urls_that_can_be_read_one_way(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:1",
        "http://", "http:///path", "http://:80/", "http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/",
        "http://example.com@evil.example/", "http://example.com\\@evil.example/", "http://evil.example\\.example.com/",
        "http://exa mple.com/", "http://example.com\r\nHost: x/", "http://example.com\t/", "\x00http://example.com/", " http://e.com",
        "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:80:80/",
        "http://example.com:８０/", "http://example.com:+80/", "http://example.com:6379/", "http://example.com:22/",
        "http://example..com/", "http://.example.com/", "http://example.com../", "http://-a.example/", "http://a%2eexample/",
        "http://[::1/", "http://::1/", "http://[::1]evil/", "http://[fe80::1%25eth0]/", "http://[v1.x]/", "http://[127.0.0.1]/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 127 + "example/", "http://example.com/" + "a" * 2048,
        "http://1.2.3/", "http://1.2.3.4.5/", "http://256.1.1.1/", "http://01.2.3.4/", "http://1.2.3.4.0x1/", "http://example.0/",
        "http://example.com\u00a0/", "http://exam\u200bple.com@x/", "http://a\u2044b/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        parse_url(url)


@given(st.text())
def test_any_text_is_a_target_or_a_refusal(text: str) -> None:
    for url in (text, f"http://{text}/", f"http://example.com:{text}"):
        try:
            target = parse_url(url)
        except EgressRefused:
            continue
        assert normalize_host(target.host) == target.host
        assert target.host.isascii()
        assert 1 <= target.port <= 65_535


def test_one_bad_record_among_good_ones_refuses_them_all() -> None:
    with pytest.raises(EgressRefused) as caught:
        EgressPolicy().check([ip_address("8.8.8.8"), ip_address("10.20.30.40")], "name.example")
    assert "10.20.30.40" not in caught.value.message + str(caught.value.details)


def test_an_allow_list_opens_what_it_names_and_no_more() -> None:
    policy = EgressPolicy.parse(["10.1.0.0/16", "192.168.7.7", "Intranet.Example.", "fd12::/32"])
    for text in ("10.1.2.3", "192.168.7.7", "fd12::9", "8.8.8.8"):
        assert policy.permits(ip_address(text), "any.example")
    for text in ("10.2.0.1", "192.168.7.8", "127.0.0.1", "::ffff:10.1.2.3"):
        assert not policy.permits(ip_address(text), "any.example")
    assert policy.permits(ip_address("172.16.9.9"), "intranet.example")
    assert not policy.permits(ip_address("172.16.9.9"), "sub.intranet.example")


@pytest.mark.parametrize("metadata", ["169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "168.63.129.16"])
def test_the_metadata_service_opens_only_under_its_own_address(metadata: str) -> None:
    address = ip_address(metadata)
    wide = EgressPolicy.parse(["169.254.0.0/16", "fd00::/8", "64:ff9b::/96", "168.63.0.0/16", "intranet.example"])
    assert not wide.permits(address, "intranet.example")
    assert EgressPolicy.parse([metadata]).permits(address, "x.example")


@pytest.mark.parametrize(
    "entry", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.0/33", "fe80::zz", "", "a b", "127.1", "*.example.com"]
)
def test_an_allow_list_entry_that_says_too_much_or_nothing_is_refused(entry: str) -> None:
    with pytest.raises(InvalidRequest):
        EgressPolicy.parse([entry])


@pytest.mark.parametrize(
    ("port", "purpose", "fits"),
    [(443, Ports.WEB, True), (8080, Ports.WEB, True), (25, Ports.WEB, False), (7233, Ports.WEB, False), (0, Ports.WEB, False),
     (65_536, Ports.WEB, False), (25, Ports.MAIL, True), (993, Ports.MAIL, True), (443, Ports.MAIL, False)],
)  # fmt: skip
def test_ports_follow_the_purpose(port: int, purpose: Ports, fits: bool) -> None:
    if fits:
        check_port(port, purpose)
    else:
        with pytest.raises(EgressRefused, match=str(port)):
            check_port(port, purpose)
