"""The contract of a server with the usual limits, as the server itself would say it."""

from __future__ import annotations

import json

from cloudchat_core.codec import encode
from cloudchat_core.limits import Limits
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.specs.asyncapi import asyncapi
from cloudchat_transports.specs.openapi import openapi
from cloudchat_transports.specs.operations import OPERATIONS
from tests.specs.contract import Contract

OPENAPI = json.loads(encode(openapi(Limits(), OPERATIONS)))
ASYNCAPI = json.loads(encode(asyncapi(Limits(), TRANSPORTS)))
CONTRACT = Contract(OPENAPI, ASYNCAPI)
"""Compiled once for all tests of a process."""
