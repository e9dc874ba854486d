"""The pure-Python group commit behind an aiohttp handler: `python -m … jobs.db` says its port."""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec
import uvloop
from aiohttp import web

from outhaul_bench.peers.group_commit import GroupCommit


async def main(path: str) -> None:
    store = GroupCommit(path)

    async def enqueue(request: web.Request) -> web.Response:
        jobs = msgspec.json.decode(await request.read())
        if isinstance(jobs, list):
            ids: object = await asyncio.gather(*(store.put(job) for job in jobs))
        else:
            ids = await store.put(jobs)
        return web.Response(status=201, body=msgspec.json.encode(ids))

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/tasks", enqueue)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"listening on 127.0.0.1:{runner.addresses[0][1]}", file=sys.stderr, flush=True)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await runner.cleanup()
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
