"""What it costs the interpreter to describe a task, before anything crosses to the core."""

from __future__ import annotations

from typing import Any

from outhaul import NativeWorker, Secret, Task

URL = "https://api.example.com/upload"
HEADERS = {"Authorization": Secret.env("API_TOKEN", prefix="Bearer ")}


def test_describe_and_encode_an_upload(benchmark: Any) -> None:
    def run() -> bytes:
        worker = NativeWorker.http_upload(url=URL, file_path="/data/photos/img_0001.jpg")
        return Task("upload_42", worker, tag="photos").encoded

    assert b"img_0001" in benchmark(run)


def test_describe_and_encode_an_upload_with_a_secret(benchmark: Any) -> None:
    def run() -> bytes:
        worker = NativeWorker.http_upload(
            url=URL, file_path="/data/photos/img_0001.jpg", field_name="photo", headers=HEADERS
        )
        return Task("upload_42", worker, tag="photos").encoded

    assert b"API_TOKEN" in benchmark(run)
