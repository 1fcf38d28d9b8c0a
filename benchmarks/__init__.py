"""What cloudchat can do on a machine, beside the floor that the kernel sets and beside other servers.

    nox -s benchmark [-- --quick]        (or python -m benchmarks, with the extra `benchmark`)

Theory of operation. `load.c` is the client of them all: it holds the connections, publishes, and takes the time; one
description of how each server is spoken to (`servers.py`) makes it fit. `floor.c` is the least that a fan-out can be.
A *section* (`sections.py`, `growth.py`) is a set of measurements that belong together. Servers are compared in
*rounds*: in each of them every one has its turn, one after the other and each in a fresh process, so that what else the
machine does in the meantime falls on all alike; ratios are made within a round, and what is told is their median.

The server has one core, and the load another. Figures are kept as they come (`figures.py`, under `build/`), judged by
the goals (`goals.py`) and drawn into `docs/performance.md` (`report.py`).
"""
