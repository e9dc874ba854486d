"""Enqueues one task after the other and tells what became of each: `python -m … STORE COUNT`."""

from __future__ import annotations

import asyncio
import os
import sys

from outhaul import PythonWorker, WorkManager
from outhaul.errors import StoreError


async def main(store: str, count: int) -> None:
    async with WorkManager(store, workers="elsewhere") as manager:
        for number in range(count):
            try:
                await manager.enqueue(f"t{number}", PythonWorker("elsewhere", os.urandom(3000)))
                said = f"ack t{number}"
            except StoreError as error:
                said = f"refused t{number} {error.code}"
            os.write(1, f"{said}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
