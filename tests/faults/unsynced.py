"""`cloudchat serve` with a log that is not synced, for the test that must notice it."""

from cloudchat_cli import main
from cloudchat_engine.logs import SqliteLog

if __name__ == "__main__":
    assert SqliteLog.__init__.__kwdefaults__ == {"synchronous": "FULL"}
    SqliteLog.__init__.__kwdefaults__["synchronous"] = "OFF"
    main()
