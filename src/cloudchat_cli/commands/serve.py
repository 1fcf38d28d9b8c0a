"""`cloudchat serve`."""

# ruff: noqa: D301, PLC0415 - click marks paragraphs that are not to be wrapped with \b; imports are late on purpose

from __future__ import annotations

import os
from typing import Any

import click

from cloudchat_cli.options import setting_option


@click.command()
@setting_option("serve.transport")
@setting_option("serve.host")
@setting_option("serve.port")
@setting_option("serve.log")
@setting_option("serve.provider")
@setting_option("serve.allow_origin")
@setting_option("serve.allow_host")
@setting_option("serve.grace")
@setting_option("serve.heartbeat")
@setting_option("serve.retain")
@setting_option("serve.limit")
def serve(
    *,
    transport: tuple[str, ...],
    host: str,
    port: int,
    log: tuple[Any, str],
    provider: Any,
    allow_origin: tuple[str, ...],
    allow_host: tuple[str, ...],
    grace: float,
    heartbeat: float,
    retain: Any,
    limit: Any,
) -> None:
    """Run a server until Ctrl-C.

    Whoever reaches it may chat and operate instances, so it listens on this machine alone unless --host says otherwise.
    The environment variable RENDER_EXTERNAL_HOSTNAME counts as an --allow-host.

    \b
    Examples:
      cloudchat serve
      cloudchat serve --port 9000 --log sqlite:/var/lib/cloudchat/log.sqlite
      cloudchat serve --log memory: --provider 'simulated:?duration=2'
      cloudchat serve --host 0.0.0.0 --allow-host chat.example.org --allow-origin https://example.org
      cloudchat serve --retain 30d --retain 1GB --limit text=1000 --limit commands_per_second=0
    """
    from importlib.metadata import version

    from cloudchat_cli.output import emit
    from cloudchat_cli.serving import Settings, run
    from cloudchat_transports.access import Access

    hosts = [*allow_host, *filter(None, [os.environ.get("RENDER_EXTERNAL_HOSTNAME")])]
    try:
        access = Access(hosts, allow_origin)
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    def ready(url: str) -> None:
        emit(f"cloudchat {version('cloudchat')} serves at {url} (Ctrl-C stops it)")
        emit(f"log: {log[1]}")
        if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared with, not bound to
            emit("listening on every address of this machine: whoever reaches it may use it")

    run(
        Settings(transport, host, port, log[0], provider, access, limit, retain, grace, heartbeat),
        ready,
    )
