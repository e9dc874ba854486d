"""pycurl: libcurl's own form, with the largest buffer that it takes for uploads."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pycurl

from outhaul_bench.measure import MIB
from outhaul_bench.peers import in_thread


@contextlib.contextmanager
def _handles(ca_file: str) -> Iterator[in_thread.Send]:
    """A handle for each thread, so that each keeps its connection."""
    kept = threading.local()

    def send(url: str, path: Path) -> int:
        if not hasattr(kept, "curl"):
            kept.curl = _handle(url, ca_file)
        kept.curl.setopt(pycurl.HTTPPOST, [("file", (pycurl.FORM_FILE, str(path)))])
        kept.curl.setopt(pycurl.WRITEDATA, io.BytesIO())
        kept.curl.perform()
        status: int = kept.curl.getinfo(pycurl.RESPONSE_CODE)
        return status

    yield send


def _handle(url: str, ca_file: str) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NOSIGNAL, 1)  # it is used in threads
    curl.setopt(pycurl.UPLOAD_BUFFERSIZE, 2 * MIB)
    if ca_file:
        curl.setopt(pycurl.CAINFO, ca_file)
    return curl


upload = in_thread.uploader(_handles)
