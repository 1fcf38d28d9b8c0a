"""The file under a `SqliteLog`: who may have it open, what stands in it, and how an older one is brought up to date.

One server has a log open at a time. That is held by an `flock` on `PATH.lock`, which the kernel lets go of however the
server ends; SQLite's own exclusive mode would shut out our reader and a backup as well.

The file says what it is (`application_id`) and how it is laid out (`user_version`: how many of `MIGRATIONS` it has
seen). A newer layout, or a file that is something else, is refused before anything is written to it.

Each record has a checksum: SQLite notices a page that makes no sense, but not a byte of a text that the disk changed.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from cloudchat_engine.ports import (
    LogDamagedError,
    LogError,
    LogLockedError,
    LogUnavailableError,
    LogUncertainError,
)

Synchronous = Literal["FULL", "OFF"]

APPLICATION_ID = 0x636C6F75
"""Reads `clou` in the file's head (SQLite file format §1.3)."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # `size` is the sum of the weights of all records up to this one, since the log began.
        """CREATE TABLE log ("offset" INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL,
           topic TEXT NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL, private BLOB NOT NULL)""",
        "CREATE INDEX messages ON log (kind) WHERE kind = 'message'",
        "CREATE INDEX worklog ON log (topic) WHERE topic = 'instances'",
        """CREATE TABLE erased ("offset" INTEGER PRIMARY KEY, body BLOB NOT NULL)""",
        """CREATE TABLE snapshot ("offset" INTEGER PRIMARY KEY, state BLOB NOT NULL)""",
        "CREATE TABLE retained (first INTEGER NOT NULL)",
        "INSERT INTO retained VALUES (1)",
    ),
    (
        # `sum` is the checksum of the row. The records move to a new table: growing where they are they would leave
        # copies behind, see `sqlite_writer`. What a dropped table leaves is zeroed.
        "ALTER TABLE log RENAME TO unsummed",
        """CREATE TABLE log ("offset" INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL,
           topic TEXT NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL, private BLOB NOT NULL,
           sum BLOB NOT NULL)""",
        """INSERT INTO log SELECT "offset", at, kind, topic, size, body, private,
           checksum("offset", body, private) FROM unsummed ORDER BY "offset\"""",
        "DROP TABLE unsummed",
        "CREATE INDEX messages ON log (kind) WHERE kind = 'message'",
        "CREATE INDEX worklog ON log (topic) WHERE topic = 'instances'",
        "ALTER TABLE erased ADD COLUMN sum BLOB NOT NULL DEFAULT x''",
        """UPDATE erased SET sum = (SELECT checksum(log."offset", erased.body, private) FROM log
           WHERE log."offset" = erased."offset")""",
    ),
)
"""What turns a file of layout N into one of layout N + 1. Only ever added to; each is one transaction."""


def checksum(offset: int, body: bytes, private: bytes) -> bytes:
    """Return the 4 bytes that stand beside a record: CRC-32 of both of its parts, begun with its offset.

    What else stands in its row (moment, kind, topic) stands in `body` as well.
    """
    return crc32(private, crc32(body, offset)).to_bytes(4, "big")


def sound(row: Sequence[Any]) -> bool:
    """Tell whether a row (offset, at, kind, topic, body, private, sum) is as it was written."""
    try:
        return bool(row[6] == checksum(row[0], row[4], row[5]))
    except TypeError:  # another program wrote something else than bytes
        return False


ADVICE = "keep a copy of it, see what is left with `cloudchat log check`, and restore a backup"
"""What to do about a damaged log."""


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; whatever goes wrong, also in the commit, no transaction is left open."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def explain(
    error: sqlite3.Error | OSError, path: Path, *, committing: bool = False, place: str = ""
) -> LogError:
    """Turn what SQLite or the system said into what it means for the log, and what a person can do.

    `place` says where in the file (` at …`), where that is known.

    `committing`: the outcome of a transaction depends on it, so an error that is not known to precede the write leaves
    that open.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return LogUnavailableError(
            f"the disk that holds {path} is full; nothing was written. Make room, then it goes on by itself"
        )
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}:
        return LogDamagedError(
            f"{path} is damaged{place}, or no cloudchat log ({error}); {ADVICE}, or name another file"
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LogUnavailableError(
            f"another program keeps {path} from being written (a shell or a backup tool); close it"
        )
    certain = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
    if isinstance(error, OSError) or code in certain or not committing:
        return LogUnavailableError(
            f"{path} cannot be used ({error}); see that its directory exists, can be written by this user, "
            "and that its disk is well"
        )
    return LogUncertainError(
        f"writing to {path} failed ({error}); whether the last batch is in it shows when it is opened again. "
        "If this happens more than once, see to the disk"
    )


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file stands at `path`: its device and inode; None where there is none. Raises `OSError`."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def misplaced(path: Path) -> str:
    """Say that another file, or none, stands at `path` than the one that is written to."""
    return (
        f"{path} was moved, replaced or removed while the server had it open; what is written now would be lost at "
        "the next start. Put back the file that was there, and it goes on by itself; or stop the server and restore a "
        "backup"
    )


class Lock:
    """Held while a server has the log at `path` open; taken by making one, given back by `release`."""

    def __init__(self, path: Path) -> None:
        name = Path(f"{path}.lock")
        self._file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode(errors="replace").strip()
            os.close(self._file)
            raise LogLockedError(
                f"another server (process {holder or 'unknown'}) has {path} open; stop it, or use another log"
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let others have it. The file stays: taking it away would let two servers lock two files of one name."""
        os.close(self._file)


def create(path: Path) -> None:
    """Make sure that `path` exists, for its owner alone: it holds a chat, and hashes of tokens. Directories too."""
    missing = [p for p in path.parents if not p.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync(directory.parent)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _sync(path.parent)


def _sync(directory: Path) -> None:
    """Make what was created in `directory` survive power loss."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the file for writing, in today's layout. Raises `sqlite3.Error`, `LogError`."""
    # Autocommit: a transaction is what this code says it is. Who else may hold the file (a backup) gets 5 s to finish.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        recognise(connection, path)
        connection.execute("PRAGMA page_size = 4096")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise LogUnavailableError(
                f"{path} is on a file system that has no shared memory (a network disk?); use a local one"
            )
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.create_function("checksum", 3, checksum, deterministic=True)
        migrate(connection, MIGRATIONS)
    except BaseException:
        connection.close()
        raise
    return connection


def recognise(connection: sqlite3.Connection, path: Path) -> int:
    """Return the layout of the file (0: it is empty); `LogDamagedError` where it is no log, or one of the future."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        if application or version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LogDamagedError(
                f"{path} belongs to another program, it is no cloudchat log; name another file"
            )
    elif version > len(MIGRATIONS):
        raise LogDamagedError(
            f"{path} was written by a newer cloudchat (layout {version}, this one knows {len(MIGRATIONS)}); "
            "install that version, or name another file"
        )
    made = """SELECT type, name FROM sqlite_master WHERE type = 'trigger' OR
              type = 'view' AND name IN ('log', 'erased', 'snapshot', 'retained')"""
    for kind, name in connection.execute(made):
        # It would do something else than what is written here: drop what was appended, or never end.
        raise LogDamagedError(
            f"{path} has a {kind} in it, {name!r}, which is not cloudchat's; {ADVICE}"
        )
    return int(version)


def beginning(connection: sqlite3.Connection, path: Path) -> int:
    """Return the offset that the log begins with, as the file has it; `LogDamagedError` where it has none."""
    found = connection.execute("SELECT first FROM retained").fetchone()
    if found is None or not isinstance(found[0], int):
        raise LogDamagedError(f"{path} does not say where it begins; {ADVICE}")
    return found[0]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Bring the file forward by those of `migrations` that it has not seen; a crash loses no step and repeats none."""
    seen: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for version, statements in enumerate(migrations[seen:], seen + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
