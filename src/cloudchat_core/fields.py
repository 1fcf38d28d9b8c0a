"""What stands in the fields of messages, for who reads the schemas that are made of the message types.

Nothing here is checked when a message is decoded: what is wrong with a command is decided where the rule is, with a
code of its own. `maxLength` names the limit (`cloudchat_core.limits`) whose number stands there in a schema.
"""

from typing import Annotated, Any

from msgspec import Meta

from cloudchat_core.errors import Code


def _told(description: str, **schema: Any) -> Meta:
    return Meta(description=description, extra_json_schema=schema or None)


CommandId = Annotated[
    str, _told("The client's own name for the command.", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
]
CursorText = Annotated[
    str, _told("A position in the log.", pattern=r"^[a-z0-9]{1,16}-(0|[1-9][0-9]{0,18})$")
]
Moment = Annotated[
    str,
    _told(
        "RFC 3339, in UTC with milliseconds.",
        format="date-time",
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
    ),
]
Nickname = Annotated[
    str, _told("A nickname as the server writes it.", minLength=1, maxLength="nickname")
]
WantedNickname = Annotated[
    str,
    _told(
        "A nickname; prepared as RFC 8266 has it, it is no longer than `limits.nickname`.",
        minLength=1,
    ),
]
Text = Annotated[str, _told("What is said.", maxLength="text")]
WantedText = Annotated[
    str,
    _told(
        "What is said; trimmed before it is counted. Newline and tab are its only control characters.",
        minLength=1,
        maxLength="text",
    ),
]
Token = Annotated[
    str,
    _told(
        "The participation token, made up by the client: at least 128 random bits.",
        pattern="^[A-Za-z0-9_-]{22,128}$",
    ),
]
FeedName = Annotated[str, _told("The random name of a feed, while it lives.")]
InstanceName = Annotated[
    str,
    _told(
        "A label for people: printable, not blank at its ends.",
        minLength=1,
        maxLength="name",
        pattern=r"^[^\p{C}\p{Z}]( *[^\p{C}\p{Z}])*$",
    ),
]
Spec = Annotated[
    dict[str, Any],
    _told(
        "The provider's own parameters, of at most `limits.frame` bytes.", additionalProperties=True
    ),
]
InstanceId = Annotated[str, _told("The id of an instance, a UUID.", minLength=1)]
OperationId = Annotated[str, _told("The id of an operation, a UUID.", minLength=1)]
InstanceState = Annotated[
    str, _told("Left out until the instance is created.", enum=["running", "stopped"])
]
Verb = Annotated[str, _told("What was asked for.", enum=["create", "start", "stop", "remove"])]
Outcome = Annotated[
    str,
    _told(
        "The type of the event that ended it.",
        enum=["created", "started", "stopped", "removed", "failed"],
    ),
]
Asker = Annotated[
    str | None, Meta(description="Nickname or identity of who asked; null for callers without.")
]
Seconds = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0})]
ErrorCode = Annotated[str, Meta(extra_json_schema={"enum": list(Code)})]
