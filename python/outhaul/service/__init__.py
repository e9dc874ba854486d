"""The manager over HTTP: enqueue, ask, watch. Knows nothing below the manager.

One file per idea: `routes` lists every address, and `openapi` describes them. `specs` says what a
request may hold, `named` puts a task into JSON. `handlers` and `streams` answer; streams of events
share a `feed` and are woken by a `pulse`. `problems` says why not, `access` decides who may ask,
`app` joins them, and `serve` runs them by themselves. `client` is the other side: it asks over a
`connection`, which has `patience`, and `translate` makes JSON of tasks and errors of problems.
"""

from outhaul.service.app import create_app

__all__ = ["create_app"]
