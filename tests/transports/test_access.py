"""Who may call: pages of other sites may not, however they try; people and programs on the machine may."""

import pytest

from cloudchat_transports.access import Access, parse_authority, parse_origin

SERVER = Access(["chat.example.org"], ["https://app.example.org", "http://pages.example:8080"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost:8000",
        "localhost.",
        "localhost.:8000",
        "alpha.localhost:1",
        "127.0.0.1",
        "127.0.0.1:8000",
        "192.0.2.4:65535",
        "[::1]",
        "[::1]:8000",
        "[2001:DB8::1]:8000",
        "[::ffff:127.0.0.1]",
        "chat.example.org",
        "chat.example.org:443",
        "Chat.Example.Org.:8000",
        "localhost:",
    ],
)
def test_loopback_names_literals_and_told_names_are_let_in(host: str) -> None:
    assert SERVER.check(host, None) is None


@pytest.mark.parametrize(
    "host",
    [
        # What a page that rebinds its name to our address would send.
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "chat.example.org.evil.example",
        "evilchat.example.org",
        "notlocalhost",
        "localhost-evil.example",
        # Spellings of 127.0.0.1 that only some resolvers know.
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        # No hosts at all.
        "",
        " ",
        ":8000",
        ".",
        "[::1",
        "::1",
        "[::1%25lo]",
        "[127.0.0.1]",
        "localhost:99999",
        "localhost:8000:8000",
        "localhost:http",
        "user@localhost",
        "localhost/path",
        "localhost evil.example",
        "localhost,evil.example",
        "localhost\\evil.example",
        "evil.example#localhost",
        "..localhost..",
        "\x00localhost",
        "ev\xefl.example",
    ],
)
def test_other_names_are_kept_out_whoever_asks(host: str) -> None:
    assert SERVER.check(host, None) is not None
    assert SERVER.check(host, f"http://{host}") is not None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST.:8000", "http://localhost:8000"),
        ("localhost", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000"),
        # A proxy ends TLS before us: the request's scheme is not known for certain.
        ("chat.example.org", "https://chat.example.org"),
        ("chat.example.org", "https://chat.example.org:443"),
        ("chat.example.org:443", "https://chat.example.org"),
        ("chat.example.org:8443", "https://chat.example.org:8443"),
        # Origins that the server was told.
        ("localhost:8000", "https://app.example.org"),
        ("localhost:8000", "https://APP.example.org:443"),
        ("127.0.0.1", "http://pages.example:8080"),
    ],
)
def test_the_servers_own_pages_and_told_origins_are_let_in(host: str, origin: str) -> None:
    assert SERVER.check(host, origin) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "null"),
        ("localhost:8000", ""),
        ("localhost:8000", "http://localhost"),
        ("localhost:8000", "http://localhost:8001"),
        ("localhost:8000", "https://localhost"),
        ("localhost", "http://localhost:8000"),
        ("localhost:80", "https://localhost"),
        ("chat.example.org:80", "https://chat.example.org"),
        ("localhost:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://localhost:8000"),
        ("localhost:8000", "http://evil.example:8000"),
        ("localhost:8000", "http://localhost.evil.example:8000"),
        ("localhost:8000", "http://localhost:8000@evil.example"),
        ("localhost:8000", "http://localhost:8000/"),
        ("localhost:8000", "http://localhost:8000 http://evil.example"),
        ("localhost:8000", "http://localhost:8000, http://evil.example"),
        ("localhost:8000", "localhost:8000"),
        ("localhost:8000", "//localhost:8000"),
        ("localhost:8000", "file://"),
        ("localhost:8000", "file://localhost:8000"),
        ("localhost:8000", "http://app.example.org"),
        ("localhost:8000", "https://app.example.org:8443"),
        ("localhost:8000", "http://pages.example"),
        ("localhost:8000", "https://sub.app.example.org"),
    ],
)
def test_other_origins_are_kept_out(host: str, origin: str) -> None:
    assert SERVER.check(host, origin) is not None


def test_a_told_host_is_no_told_origin() -> None:
    access = Access(allow_hosts=["chat.example.org"])
    assert access.check("localhost:8000", "https://chat.example.org") is not None


def test_a_told_origin_may_be_of_any_scheme() -> None:
    access = Access(allow_origins=["capacitor://localhost"])
    assert access.check("localhost:8000", "capacitor://localhost") is None
    assert access.check("localhost:8000", "ionic://localhost") is not None


@pytest.mark.parametrize("host", ["..", "localhost..", "b\xfccher\xa8.example"])
def test_what_no_name_may_be_names_no_host(host: str) -> None:
    assert parse_authority(host) is None


def test_international_names_are_known_in_both_spellings() -> None:
    access = Access(["bücher.example"])
    assert access.check("xn--bcher-kva.example", "https://xn--bcher-kva.example") is None
    assert access.check("bücher.example:80", None) is None


@pytest.mark.parametrize(
    "name", ["", "*", "*.example.org", "http://example.org", "a b", "[1]", "x" * 64 + "ü"]
)
def test_what_is_no_host_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="no host to allow"):
        Access(allow_hosts=[name])


@pytest.mark.parametrize(
    "origin", ["null", "*", "https://*", "example.org", "https://", "https://a/b"]
)
def test_what_is_no_origin_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin to allow"):
        Access(allow_origins=[origin])


def test_a_final_slash_of_an_allowed_origin_is_forgiven() -> None:
    access = Access(allow_origins=["https://example.org/"])
    assert access.check("localhost", "https://example.org") is None


def test_authorities_and_origins_are_made_comparable() -> None:
    assert parse_authority("LOCALHOST.:080") == ("localhost", 80)
    assert parse_authority("[0::1]") == ("[::1]", None)
    assert parse_origin("HTTPS://Example.org") == ("https", "example.org", 443)
    assert parse_origin("tauri://localhost") == ("tauri", "localhost", None)
