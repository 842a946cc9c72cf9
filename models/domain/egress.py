"""Which addresses a user may make this platform call. Pure: names are resolved by `activities.egress`, judged here.

Everything but public unicast is refused, and so is every spelling that another parser might read as another host: the
address connected to is the one that was judged. A superadmin's allow-list opens networks or names; a cloud's metadata
service opens only when its very address is listed, never as part of a wider network or behind an allowed name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

import idna

from models.base.errors import AppError, InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_LIMIT: Final = 2_048
"""Longest URL in characters."""


class EgressRefused(InvalidRequest):
    """The policy forbids this target. The message names what the user gave, never what it resolved to."""

    code = "EGRESS_REFUSED"


class TargetUnreachable(AppError):
    """A target that the policy allows could not be resolved, connected to or read in time."""

    code = "TARGET_UNREACHABLE"
    status = 502
    retryable = True


class TargetMisbehaved(AppError):
    """The target answered with what is not accepted: too much, too many redirects, an encoding that was not asked for."""

    code = "TARGET_MISBEHAVED"
    status = 502


class Ports(StrEnum):
    """What the connection is for decides its ports."""

    WEB = "web"
    MAIL = "mail"


_MAIL_PORTS: Final = frozenset({25, 110, 143, 465, 587, 993, 995, 2525})

_BAD_WEB_PORTS: Final = frozenset(
    {
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111,
        113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548,
        554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
        6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
        # Beyond that list: databases and consoles that act on what an HTTP request holds.
        2375, 2376, 2379, 3306, 5432, 6379, 7233, 9200, 10250, 11211, 27017,
    }
)  # fmt: skip
"""Source: WHATWG Fetch, "port blocking", and the additions named above."""

_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
"""Source: IANA IPv4 Special-Purpose Address Registry (RFC 6890), and multicast."""

_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All global unicast allocated so far (RFC 4291): mapped, compatible, unique-local, link-local, multicast lie outside."""

_REFUSED_V6: Final = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
"""Within it: IETF protocols with Teredo and ORCHID, documentation, 6to4, AS112. IANA IPv6 Special-Purpose Registry."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052. Where DNS64 is in use every IPv4-only host looks so; judged by the IPv4 address in its last 32 bits."""

_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",  # AWS, most others; ECS; EKS
        "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.42.42", "fd00:42::42",
    )
)  # fmt: skip
"""Instance metadata and host agents: AWS, GCP (IPv6), Azure (a public address), Alibaba, Oracle, Scaleway."""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\]|[^\S ]")


@dataclass(frozen=True)
class Target:
    """Where to connect: `host` is an A-label name in lower case without final dot, or an address in canonical form."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class EgressPolicy:
    """Built with `parse`; the default allows public addresses only."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, allow_list: Iterable[str]) -> Self:
        """Entries are an address, a network in CIDR form or an exact host name. Raises InvalidRequest naming a bad one."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in (given.strip() for given in allow_list):
            network = _network(entry)
            if network is None:
                hosts.add(normalize_host(entry))
            elif network.prefixlen == 0:
                raise InvalidRequest(f"{entry} would allow every address: list the networks that are meant")
            else:
                networks.append(network)
        return cls(tuple(networks), frozenset(hosts))

    def permits(self, address: Address, host: str) -> bool:
        """Whether the host, which resolved to the address (or is it), may be connected to."""
        if address in _METADATA or _carried(address) in _METADATA:
            return any(network.num_addresses == 1 and address in network for network in self.networks)
        if any(address in network for network in self.networks):
            return True
        return host in self.hosts or is_public(address)

    def check(self, addresses: Iterable[Address], host: str) -> None:
        """Raises EgressRefused unless every address is permitted: one bad record among good ones is an attack."""
        if not all(self.permits(address, host) for address in addresses):
            raise EgressRefused(
                f"{host} leads to an address that may not be called from here; a superadmin can allow it",
                details={"host": host},
            )


def is_public(address: Address) -> bool:
    """Whether the address is public unicast that leads nowhere but to itself."""
    if isinstance(address, IPv4Address):
        return address not in _METADATA and not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_V6 and address not in _METADATA and not any(address in network for network in _REFUSED_V6)


def parse_url(url: str) -> Target:
    """The target of an http or https URL. Raises EgressRefused for every form that two parsers may read differently."""
    if len(url) > URL_LIMIT:
        raise EgressRefused(f"a URL has at most {URL_LIMIT} characters")
    if _UNSAFE.search(url):
        raise EgressRefused("a URL holds no blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EgressRefused("the URL cannot be read: check the host and the port") from None
    if parts.scheme not in {"http", "https"}:
        raise EgressRefused("only http and https URLs can be called")
    if "@" in parts.netloc:
        raise EgressRefused("a URL holds no user name or password: put credentials into their own field")
    target = Target(
        parts.scheme, _host_of(parts), port if port is not None else {"http": 80, "https": 443}[parts.scheme]
    )
    check_port(target.port, Ports.WEB)
    return target


def normalize_host(host: str) -> str:
    """The one form of a host name or address. Raises EgressRefused for what is neither, or an address in disguise.

    `127.1`, `0x7f000001`, `2130706433` and `0177.0.0.1` are such disguises: refused, not read.
    """
    try:
        if ":" in host:
            return str(IPv6Address(host))
        name = idna.encode(host.removesuffix("."), uts46=True).decode("ascii") if not host.isascii() else host.lower()
    except ValueError:
        raise EgressRefused("the host is not a valid name or address") from None
    labels = name.removesuffix(".").split(".")
    if len(".".join(labels)) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressRefused("the host is not a valid name or address")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(".".join(labels)))  # strict: four decimal numbers without leading zeros
        except ValueError:
            raise EgressRefused("write an IPv4 address as four decimal numbers") from None
    return ".".join(labels)


def check_port(port: int, purpose: Ports) -> None:
    """Raises EgressRefused for a port that the purpose does not use."""
    fits = port in _MAIL_PORTS if purpose is Ports.MAIL else 1 <= port <= 65_535 and port not in _BAD_WEB_PORTS
    if not fits:
        raise EgressRefused(f"port {port} cannot be called for {purpose}", details={"port": port})


def literal_address(host: str) -> Address | None:
    """The address that a normalized host is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _host_of(parts: SplitResult) -> str:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]*)?", parts.netloc)
    if bracketed:
        return normalize_host(bracketed[1])
    host, _, port = parts.netloc.partition(":")
    if not host or not re.fullmatch(r"[0-9]*", port, re.ASCII) or "%" in host:
        raise EgressRefused("the URL cannot be read: check the host and the port")
    return normalize_host(host)


def _network(entry: str) -> Network | None:
    """The network of an allow-list entry, None where it is a name. Host bits are an error, not a guess."""
    if "/" not in entry and not re.fullmatch(r"[0-9a-fA-F.:]*[:.][0-9a-fA-F.:]*", entry):
        return None
    try:
        return ip_network(entry)
    except ValueError:
        if "/" in entry or ":" in entry:
            raise InvalidRequest(f"{entry} is not a network: its host bits must be zero, as in 10.1.0.0/16") from None
        return None


def _carried(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 one carries in a mapped or translated form."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
