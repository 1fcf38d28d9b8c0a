"""The page at `/`: what this server is, and how to take part. Plain HTML; it loads nothing and runs nothing."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from typing import Final

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "code,pre{font:.9rem/1.5 ui-monospace,monospace}"
    "pre{overflow-x:auto;padding:.75rem 1rem;border:1px solid;border-radius:.25rem}"
)

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cloudchat</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>cloudchat</h1>
<p>A chat and a live dashboard of cloud servers for one team: what was said and what was done, in one order, on every
screen.</p>
<h2>Take part</h2>
<pre><code>pip install cloudchat
cloudchat chat</code></pre>
<h2>Look around</h2>
<ul>
<li><a href="{root}/v1/participants">who is here</a></li>
<li><a href="{root}/v1/messages">what was said</a></li>
<li><a href="{root}/v1/instances">the servers</a>, <a href="{root}/v1/operations">the operations on them</a>, and
<a href="{root}/v1/worklog">all that happened to them</a></li>
<li><a href="{root}/readyz">is this server ready?</a></li>
</ul>
<p>Programs speak <code>cloudchat.v1</code>: a WebSocket at <code>{root}/v1/ws</code>, or HTTP at
<code>{root}/v1/commands</code>.</p>
</main>
</body>
</html>
"""

_DIGEST: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CSP: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, and nothing else whatsoever."""


def page(root: str) -> bytes:
    """Return the page of a server that is mounted at `root` (quoted; empty, or without a slash at its end)."""
    return _PAGE.format(style=_STYLE, root=escape(root)).encode()
