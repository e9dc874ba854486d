"""The manager over HTTP: enqueue, ask, watch. Knows nothing below the manager.

One file per idea: `routes` lists every address, `specs` says what a request may hold, `handlers`
and `streams` answer, `problems` says why not, `access` decides who may ask, `app` joins them,
`serve` runs them by themselves, and `client` is the other side, over a `connection`.
"""

from outhaul.service.app import create_app

__all__ = ["create_app"]
