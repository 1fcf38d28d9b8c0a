"""A server whose log is not synced, for the test that must notice it: `python -m tests.faults.unsynced PATH`."""

import sys

from cloudchat_cli.serving import Settings, run
from cloudchat_core.limits import Limits
from cloudchat_engine import Retention
from cloudchat_engine.logs import SqliteLog
from cloudchat_transports.access import Access


def main() -> None:
    settings = Settings(
        host="127.0.0.1",
        port=0,
        log=SqliteLog(sys.argv[1], synchronous="OFF"),
        duration=0.5,
        access=Access(),
        limits=Limits(),
        keep=Retention(),
        grace=5,
        heartbeat=15,
    )
    run(settings, lambda url: print(url, flush=True))  # noqa: T201 - as `serve` does


if __name__ == "__main__":
    main()
