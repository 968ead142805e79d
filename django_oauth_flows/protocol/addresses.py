"""Which addresses may be connected to: every answer of the resolver is vetted, embedded IPv4 addresses included."""

from __future__ import annotations

import ipaddress
import socket
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Never, not even for an internal provider: link-local, cloud metadata, multicast, reserved, "this network", Teredo,
# and IPv4 addresses that a translator maps (RFC 2765).
NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "100::/64", "2001:db8::/32", "2001:2::/48", "2001:10::/28", "2001::/32", "::ffff:0:0:0/96", "fd00:ec2::254/128", "fe80::/10",
        "fec0::/10", "ff00::/8", "3fff::/20", "5f00::/16", "64:ff9b:1::/48",
    )
)  # fmt: skip

# Only for a provider that staff marked as internal.
INTERNAL = tuple(
    ipaddress.ip_network(net)
    for net in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


def is_allowed(address: Address, *, internal: bool) -> bool:
    """Tell whether a connection to ``address`` may be opened."""
    return all(_is_allowed(candidate, internal=internal) for candidate in (address, *embedded(address)))


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries and a gateway or stack may connect to instead."""
    if isinstance(address, IPv4Address) or int(address) <= 1:
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(candidate for candidate in found if candidate is not None)


def resolve(host: str, port: int, *, timeout: float) -> list[tuple[socket.AddressFamily, Address]]:
    """Return every address of ``host``; raise ``OSError`` (``TimeoutError`` after ``timeout`` seconds) if there is none."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return _resolve_name(host, port, timeout=timeout)
    family = socket.AF_INET6 if literal.version == 6 else socket.AF_INET  # noqa: PLR2004 - the protocol's name
    return [(family, literal)]


def _resolve_name(host: str, port: int, *, timeout: float) -> list[tuple[socket.AddressFamily, Address]]:
    """Ask the system's resolver, which knows no deadline, in a thread that is left behind when it takes too long."""
    answers: list[tuple[socket.AddressFamily, Address]] = []
    failures: list[OSError] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failures.append(error if isinstance(error, OSError) else OSError(str(error)))
            return
        answers.extend(
            (family, ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])) for family, _, _, _, sockaddr in found
        )

    thread = threading.Thread(target=ask, name="oauth-flows-resolver", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError("the resolver did not answer in time")
    if failures or not answers:
        raise failures[0] if failures else OSError("the host has no address")
    return answers


def _is_allowed(address: Address, *, internal: bool) -> bool:
    if _in_any(address, NEVER):
        return False
    if _in_any(address, INTERNAL):
        return internal
    return address.is_global or bool(embedded(address))


def _in_any(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
