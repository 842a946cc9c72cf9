"""An IP address as it is compared, however it was written."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def listed(text: str) -> list[str]:
    """The entries of a list with commas, whatever they are."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def parsed_address(text: str) -> Address | None:
    """The address; of an IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`), that one. None for what is no address."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
