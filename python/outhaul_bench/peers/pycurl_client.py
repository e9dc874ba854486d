"""pycurl: libcurl's own form, with the largest buffer that it takes for uploads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pycurl

from outhaul_bench.measure import MIB
from outhaul_bench.peers import in_thread


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    def send(path: Path) -> int:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, 2 * MIB)
        curl.setopt(pycurl.HTTPPOST, [("file", (pycurl.FORM_FILE, str(path)))])
        curl.setopt(pycurl.WRITEDATA, io.BytesIO())
        if ca_file:
            curl.setopt(pycurl.CAINFO, ca_file)
        curl.perform()
        status: int = curl.getinfo(pycurl.RESPONSE_CODE)
        curl.close()
        return status

    return await in_thread.upload(send, files)
