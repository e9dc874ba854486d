"""The benchmark suite: outhaul beside what a user would pick instead, in one run.

`outhaul bench` runs it from an installed wheel, `make bench` from a checkout; `benches/README.md`
in the repository tells the method. Nothing here is imported by outhaul, and nothing of outhaul is
imported here outside the process that measures it.
"""
