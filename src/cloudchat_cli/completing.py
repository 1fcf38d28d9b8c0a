"""`cloudchat completion`, and the ids of instances, completed from the server.

Whoever presses Tab waits: the server has a second, and what goes wrong is nobody's interest then.
"""

# ruff: noqa: D301, PLC0415 - see the commands

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cloudchat_cli.output import emit

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PATIENCE: Final = 1.0
"""Seconds in which a server has to answer."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and the ids of instances.

    \b
    Examples:
      eval "$(cloudchat completion bash)"     in ~/.bashrc
      eval "$(cloudchat completion zsh)"      in ~/.zshrc, after compinit
      cloudchat completion fish > ~/.config/fish/completions/cloudchat.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"  # noqa: S101
    root = click.get_current_context().find_root().command
    emit(made(root, {}, "cloudchat", "_CLOUDCHAT_COMPLETE").source().strip())


def complete_instances(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the instances whose ids begin with `incomplete`; none where the server does not answer at once."""
    from click.shell_completion import CompletionItem

    try:
        listed = _instances(str(context.params["server"]))
    except (OSError, ValueError, LookupError):
        return []
    return [
        CompletionItem(one["id"], help=" ".join(filter(None, [one.get("name"), one.get("state")])))
        for one in listed
        if one["id"].startswith(incomplete)
    ]


def _instances(server: str) -> list[dict[str, Any]]:
    """Ask for all instances with what starts quickly: the client's own libraries take longer to load than to ask."""
    import json
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(server)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", f"{parts.path}/v1/instances")
        response = connection.getresponse()
        listed = json.loads(response.read()) if response.status == 200 else []
    except HTTPException as error:
        raise ValueError(str(error)) from None
    finally:
        connection.close()
    return [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]
