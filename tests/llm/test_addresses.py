"""Which addresses are public, however they are written, and that nothing else is connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from llm.addresses import PublicResolver, is_public, may_be_public
from llm.errors import Unavailable
from llm.openai import OpenAIModel
from llm.profiles import BadProfile, profile_from
from llm.types import ChatRequest, UserMessage

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:db8::1"),
)
PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)
    assert not may_be_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)
    assert may_be_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST.", "redis", "db.internal", "printer.local", "a.localhost"),
        *("2130706433", "127.1", "010.0.0.1", "0x7f000001", "127.0.0.1."),
    ],
)
def test_a_host_that_is_certainly_not_public(host: str) -> None:
    assert not may_be_public(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "\uff11\uff12\uff17.0.0.1", "2130706433", "localhost"]
)
def test_a_profile_that_must_be_public_is_at_no_such_address(host: str) -> None:
    told = {"name": "x", "base_url": f"http://{host}:9/v1"}

    assert profile_from(told).name == "x"
    with pytest.raises(BadProfile, match="must be a public address"):
        profile_from({**told, "public_only": True})


class Names(AbstractResolver):
    """A name server that says the same whatever it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None: ...


async def test_only_the_public_addresses_of_a_name_are_connected_to() -> None:
    found = await PublicResolver(Names("127.0.0.1", "8.8.8.8", "fe80::1")).resolve("both.example.com")

    assert [result["host"] for result in found] == ["8.8.8.8"]


async def test_a_name_without_a_public_address_is_not_found() -> None:
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(Names("127.0.0.1", "10.0.0.1")).resolve("inside.example.com")


async def test_a_provider_whose_name_leads_inside_is_never_asked(provider: Any) -> None:
    """`localhost` stands for any name that its owner has pointed at us."""
    address = provider.base_url.replace("127.0.0.1", "localhost")
    model = OpenAIModel(address, model="m", public_only=True)

    with pytest.raises(Unavailable):
        [delta async for delta in model.stream(ChatRequest(messages=(UserMessage("hi"),)))]

    assert provider.log() == []
    await model.aclose()
