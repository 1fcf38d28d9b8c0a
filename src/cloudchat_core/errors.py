"""Our errors, and the codes by which a refusal is known on the wire.

Three things that go wrong are kept apart. A *refusal* (`cloudchat_core.frames.Refusal`) is a value: the command was
understood and declined, the connection goes on. A *disconnect* (`RemoteProtocolError`) ends the connection: the other
side broke the protocol. A `LocalProtocolError` is a bug on our own side of the API.
"""

from enum import StrEnum


class CloudchatError(Exception):
    """Base of every exception that cloudchat raises on purpose."""


class LocalProtocolError(CloudchatError):
    """The caller of this library used it in a way that its protocol does not allow."""


class RemoteProtocolError(CloudchatError):
    """The peer did what costs it the connection.

    `close_code` is the WebSocket close code that says so (RFC 6455 §7.4.1); transports without close codes just end.
    """

    def __init__(self, detail: str, close_code: int) -> None:
        super().__init__(detail)
        self.close_code = close_code


class RefusedError(CloudchatError):
    """What came in cannot become a command; `code`, `detail` and the command's `id` (if it could be read) say why."""

    def __init__(self, code: "Code", detail: str, command_id: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.command_id = command_id


class Code(StrEnum):
    """The stable error codes of the protocol. Texts for people may change, these do not."""

    BAD_JSON = "bad_json"
    BAD_FRAME = "bad_frame"
    BAD_COMMAND = "bad_command"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    NICKNAME_INVALID = "nickname_invalid"
    NICKNAME_TAKEN = "nickname_taken"
    NICKNAME_CONFUSABLE = "nickname_confusable"
    NICKNAME_RESERVED = "nickname_reserved"
    NOT_JOINED = "not_joined"
    ALREADY_JOINED = "already_joined"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - the name of an error, not a secret
    TEXT_INVALID = "text_invalid"
    MESSAGE_UNKNOWN = "message_unknown"
    INSTANCE_UNKNOWN = "instance_unknown"
    INSTANCE_BUSY = "instance_busy"
    INSTANCE_STATE = "instance_state"
    ID_REUSED = "id_reused"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    NOT_FOUND = "not_found"
    GONE = "gone"
    BAD_REQUEST = "bad_request"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
