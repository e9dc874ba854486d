"""A slow, distant link between two network namespaces: `python -m … NAMESPACE MB_S MS`.

It stands in for `tc netem`: a process that holds packets until they are due. Like a network card
it takes segments of up to 64 KiB from the kernel, which is what keeps it cheap.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from outhaul_bench.contest import NotHereError

NEAR, FAR = "outhaul-near", "outhaul-far"
PACKETS_MAX = 1000  # that wait in one direction, as with netem; what comes then is lost

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN_NO_PI_VNET_HDR = 0x0001 | 0x1000 | 0x4000  # packets of IP, each after what is left undone
_CHECKSUM_TSO4 = 0x01 | 0x02
_PACKET_BYTES_MAX = 10 + 65_535


@contextlib.contextmanager
def running(
    within: tuple[str, ...], far_namespace: str, mb_s: float, delay_ms: float
) -> Iterator[None]:
    """Makes the two devices, one where `within` leads, and carries packets between them."""
    command = [*within, sys.executable, "-m", __name__, far_namespace, str(mb_s), str(delay_ms)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if not process.stdout.readline():
            raise NotHereError(process.stderr.read().strip().rpartition("\n")[2])
        try:
            yield
        finally:
            process.stdin.close()


def _device(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_NO_PI_VNET_HDR))
    fcntl.ioctl(tun, _TUNSETOFFLOAD, _CHECKSUM_TSO4)
    return tun


def _carry(source: int, target: int, bytes_s: float, delay_s: float) -> None:
    """One direction, in two threads: a packet leaves after the one before it, and arrives later."""
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(PACKETS_MAX)

    def take() -> None:
        free = 0.0
        while True:
            packet = os.read(source, _PACKET_BYTES_MAX)
            free = max(free, time.monotonic()) + len(packet) / bytes_s
            with contextlib.suppress(queue.Full):
                under_way.put_nowait((free + delay_s, packet))

    def deliver() -> None:
        while True:
            due, packet = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with contextlib.suppress(OSError):  # an end that is not up yet loses it
                os.write(target, packet)

    for work in (take, deliver):
        threading.Thread(target=work, daemon=True).start()


def main(far_namespace: str, mb_s: str, delay_ms: str) -> None:
    """Ends with its standard input."""
    near, far = _device(NEAR), _device(FAR)
    subprocess.run(["ip", "link", "set", FAR, "netns", far_namespace], check=True)
    for source, target in ((near, far), (far, near)):
        _carry(source, target, float(mb_s) * 1e6, float(delay_ms) / 1000)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
