"""The documents are served wherever the application is: under other people's servers, below a path, on both loops."""

from __future__ import annotations

import anyio
import httpx
import pytest

from cloudchat_engine.logs import MemoryLog
from cloudchat_transports.embedding import CloudchatApp
from tests.specs.generated import ASYNCAPI, OPENAPI
from tests.transports.portable import PLACES, Place, listening


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_site_tells_where_its_server_is(place: Place) -> None:
    async def ask() -> None:
        chat = CloudchatApp(MemoryLog())
        async with chat.running(), listening(place, chat) as url, httpx.AsyncClient() as client:
            openapi = (await client.get(f"{url}/v1/openapi.json")).raise_for_status().json()
            assert openapi == {**OPENAPI, "servers": [{"url": place.root or "/"}]}
            asyncapi = (await client.get(f"{url}/v1/asyncapi.json")).raise_for_status().json()
            assert {**asyncapi, "servers": ASYNCAPI["servers"]} == ASYNCAPI
            socket = asyncapi["servers"]["websocket"]
            found = f"http://{socket['host']}{socket.get('pathname', '')}"
            assert (found, socket["protocol"]) == (url, "ws")

    anyio.run(ask, backend=place.backend)
