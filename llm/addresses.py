"""Which addresses belong to the public internet: the only ones that a profile may name which is not of the settings."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

ONLY_HERE = (".localhost", ".local", ".internal", ".home.arpa", ".onion")
"""Names that stand for nothing on the public internet (RFC 6761, 6762, 7686, 8375)."""
NAT64 = IPv6Network("64:ff9b::/96")


class PublicResolver(AbstractResolver):
    """Looks names up as usual and gives away public addresses only. The connection goes to what was looked at: a name
    that stands for something else a moment later changes nothing."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The host's public addresses. Raises `OSError` if there is none."""
        found = await self._resolver.resolve(host, port, family)
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise OSError(None, "the name stands for no public address")
        return public

    async def close(self) -> None:
        """Close what looks names up."""
        await self._resolver.close()


def may_be_public(host: str) -> bool:
    """Whether a host can be on the public internet: a public address, or a name that may stand for one."""
    name = host.lower().rstrip(".")
    if ":" in name or name.replace(".", "").isdigit():  # what is connected to without being looked up
        return is_public(name)
    return "." in name and not name.endswith(ONLY_HERE)


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet, written as usual. One that carries another counts as that."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and (carried := _carried(found)) is not None:
        found = carried
    return found.is_global and not found.is_multicast and not found.is_reserved


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
