"""The benchmark suite: outhaul beside what a user would pick instead, in one run.

`outhaul bench` runs it from an installed wheel, `make bench` from a checkout; `benches/README.md`
in the repository tells the method. Of outhaul only its command imports this, and nothing of
outhaul is imported here outside the process that measures it.
"""
