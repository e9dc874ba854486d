"""The clients that uploads are compared with. Only aiohttp and curl are in the quick run."""

from __future__ import annotations

from outhaul_bench.contest import Contender

_PEERS = "outhaul_bench.peers"


def _peer(name: str, target: str, *needs: str, is_quick: bool = False) -> Contender:
    return Contender(name, f"{_PEERS}.{target}", needs=needs, is_quick=is_quick)


def _on(loop: str, name: str, target: str, *needs: str) -> Contender:
    """A client that awaits, on another loop than uvloop."""
    arguments = {"target": f"{_PEERS}.{target}"}
    return Contender(name, f"{_PEERS}.loops:on_{loop}", arguments, needs, is_quick=False)


AIOHTTP = _peer("aiohttp", "aiohttp_client:upload", "aiohttp", is_quick=True)
AIOHTTP_BYTES = _peer("aiohttp, bytes", "aiohttp_client:upload_bytes", "aiohttp", is_quick=True)
AIOHTTP_PIECES = _peer("aiohttp, 1 MiB", "aiohttp_client:upload_pieces", "aiohttp", is_quick=True)
AIOHTTP_ASYNCIO = _on("asyncio", "aiohttp, asyncio", "aiohttp_client:upload", "aiohttp")
AIOFASTNET = _on(
    "aiofastnet", "aiohttp, aiofastnet", "aiohttp_client:upload", "aiohttp", "aiofastnet"
)
AIOFASTNET_SENDFILE = _on(
    "aiofastnet", "aiohttp, aiofastnet sendfile", "aiohttp_sendfile:upload", "aiohttp", "aiofastnet"
)
CURL = _peer("curl", "curl:upload", "$curl", is_quick=True)
CURL_MANY = _peer("curl", "curl:upload_many", "$curl", is_quick=True)
PYCURL = _peer("pycurl, a thread", "pycurl_client:upload", "pycurl")
URLLIB3 = _peer("urllib3, a thread", "urllib3_client:upload", "urllib3")
HTTPX_SYNC = _peer("httpx, a thread", "httpx_client:upload_sync", "httpx")
HTTPX = _peer("httpx", "httpx_client:upload", "httpx")
PYREQWEST = _peer("pyreqwest", "pyreqwest_client:upload", "pyreqwest")
PYREQWEST_BYTES = _peer("pyreqwest, bytes", "pyreqwest_client:upload_bytes", "pyreqwest")
PYREQWEST_PIECES = _peer("pyreqwest, 1 MiB", "pyreqwest_client:upload_pieces", "pyreqwest")
PRIMP = _peer("primp", "primp_client:upload", "primp")
NIQUESTS_SYNC = _peer("niquests, a thread", "niquests_client:upload_sync", "niquests")
NIQUESTS = _peer("niquests", "niquests_client:upload", "niquests")
TOOLBELT = _peer(
    "requests, toolbelt, a thread",
    "requests_toolbelt_client:upload",
    "requests",
    "requests_toolbelt",
)

READ_WRITE = _peer("limit: read + write 1 MiB", "limits:read_write")
OPENSSL = _peer("limit: OpenSSL, 1 MiB", "limits:read_write")
SENDFILE = _peer("limit: sendfile", "limits:sendfile")
