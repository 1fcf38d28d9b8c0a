"""Where settings come from, which of them counts, and how what is wrong with them is told."""

from __future__ import annotations

import re
import shlex
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudchat_cli import config
from cloudchat_cli.table import SETTINGS
from tests.cli.program import Server, run

if TYPE_CHECKING:
    import subprocess

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


class Place:
    """A current directory and a user's configuration directory of their own."""

    def __init__(self, path: Path) -> None:
        self.here, self._home = path / "here", path / "home"
        self.user = self._home / "cloudchat" / "config.toml"
        self.here.mkdir()
        self.user.parent.mkdir(parents=True)
        self.local = self.here / "cloudchat.toml"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=self.here, XDG_CONFIG_HOME=str(self._home), **environment)

    def shown(self, **environment: str) -> dict[str, dict[str, object]]:
        told = self.run("config", "show", **environment)
        assert told.returncode == 0, told.stderr
        return tomllib.loads(told.stdout)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_nearest_place_that_says_something_counts(place: Place, server: Server) -> None:
    """Each is overridden by the next: the user's file, the directory's, the environment, the flag."""
    place.user.write_text('[client]\nserver = "http://127.0.0.1:2"\n')
    assert "http://127.0.0.1:2:" in place.run("instances", "list").stderr
    place.local.write_text('[client]\nserver = "http://127.0.0.1:3"\n')
    assert "http://127.0.0.1:3:" in place.run("instances", "list").stderr
    environment = {"CLOUDCHAT_SERVER": "http://127.0.0.1:4"}
    assert "http://127.0.0.1:4:" in place.run("instances", "list", **environment).stderr
    flagged = place.run("instances", "list", "--server", server.url, **environment)
    assert flagged.returncode == 0


def test_what_one_file_leaves_out_the_other_says(place: Place) -> None:
    place.user.write_text("[serve]\nport = 1\ngrace = 2.5\n[limits]\ntext = 10\nname = 11\n")
    place.local.write_text("[serve]\nport = 3\n[limits]\ntext = 12\n")
    shown = place.shown()
    assert (shown["serve"]["port"], shown["serve"]["grace"]) == (3, 2.5)
    assert shown["limits"] == {"text": 12, "name": 11}
    assert place.shown(CLOUDCHAT_SERVE_LIMIT="text=13")["limits"] == {"text": 13, "name": 11}


def test_a_server_takes_its_settings_from_a_file(place: Place) -> None:
    place.user.write_text(
        '[serve]\nlog = "memory:"\ntransport = ["poll"]\nretain = "100"\n[limits]\ntext = 5\npage = 9\n'
    )
    with Server("--limit", "page=10", XDG_CONFIG_HOME=str(place.user.parents[1])) as server:
        assert server.run("say", "--as", "Ann", "short").returncode == 0
        assert server.run("say", "--as", "Ann", "too long").returncode == 3


def test_who_is_configured_need_not_be_named(place: Place, server: Server) -> None:
    place.local.write_text(f'[client]\nnickname = "Configured"\nserver = "{server.url}"\n')
    assert place.run("say", "hello").returncode == 0
    assert place.run("chat").stdout.endswith("* here: Configured (you)\n")
    assert " Configured " in place.run("messages", "--limit", "1").stdout
    assert place.run("say", "--as", "Flagged", "hello").returncode == 0
    assert " Flagged " in place.run("messages", "--limit", "1").stdout


WRONG = {
    "a key": ("[serve]\nhost = 'x'\nprot = 1\n", ":3: ", "'prot' in [serve]; did you mean 'port'?"),
    "a section": ("[severe]\nport = 1\n", ":1: ", "[severe] here; did you mean 'serve'?"),
    "a key outside": ("port = 1\n", ":1: ", "'port' here; it belongs in [serve]"),
    "a key of two": ("transport = 'ws'\n", ":1: ", "it belongs in [serve] or [client]"),
    "no section": ("serve = 1\n", ":1: ", "write [serve]"),
    "a dotted key": ("serve.prot = 1\n", ":1: ", "did you mean 'port'?"),
    "a limit": ("[limits]\n\ntexts = 1\n", ":3: ", "did you mean 'text'?"),
    "a key like none": ("[client]\nqqqq = 1\n", ":2: ", "there is: nickname, server, transport"),
    "no TOML": ("[serve\n", "", "line 1"),
    "a number": ("[serve]\nport = 'x'\n", ":2: ", "port: 'x'"),
    "a truth": ("[serve]\nport = true\n", ":2: ", "port: "),
    "a fraction": ("[serve]\nport = 80.5\n", ":2: ", "port: '80.5'"),
    "a range": ("[serve]\nport = 65536\n", ":2: ", "65535"),
    "a list": ("[serve]\nhost = ['a', 'b']\n", ":2: ", "one value"),
    "a choice": ("[serve]\ntransport = ['pigeon']\n", ":2: ", "'ws', 'sse', 'poll'"),
    "a log": ("[serve]\nlog = 'postgres:'\n", ":2: ", "sqlite:PATH"),
    "an origin": ("[serve]\nallow_origin = ['x']\n", ":2: ", "no origin"),
    "a limit's value": ("[limits]\ntext = 0\n", ":2: ", "more than 0"),
    "a section with blank lines": ("[severe]\n\nport = 1\n\n", ":1: ", "[severe]"),
    "a line of its own kind": ("# \u2028\n[serve]\nprot = 1\n", ":3: ", "'prot' in [serve]"),
    "a tower": (f"[serve]\nlog = {'[' * 3_000}{']' * 3_000}\n", "", "makes sense"),
    "a number without end": (f"[serve]\nport = {'9' * 5_000}\n", "", "makes sense"),
    "a number without end, in hexadecimal": (
        f"[limits]\ntext = 0x{'f' * 5_000}\n",
        ":2: ",
        "number",
    ),
    "no number": ("[limits]\ntext = 'x'\n", ":2: ", "number"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_in_a_file_is_named_with_its_place_and_what_would_be_right(
    place: Place, wrong: str
) -> None:
    text, line, said = WRONG[wrong]
    place.local.write_text(text)
    for command in (("config", "check"), ("serve",)):
        ended = place.run(*command)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert f"{place.local}{line}" in ended.stderr
        assert said in ended.stderr


def test_nobody_waits_for_a_file_with_very_many_wrong_keys(tmp_path: Path) -> None:
    file, count = tmp_path / "cloudchat.toml", 20_000
    file.write_text("[serve]\n" + "".join(f"wrong{n} = 1\n" for n in range(count)))
    began = time.monotonic()
    problems = config.read([file], lambda: {"serve": ()}).problems
    # Looked for from the top each, they took some minutes.
    assert time.monotonic() - began < 30
    assert [each.partition(": there is no key")[0] for each in problems] == [
        f"{file}:{n}" for n in range(2, count + 2)
    ]


def test_what_a_command_does_not_need_is_not_held_against_it(place: Place, server: Server) -> None:
    place.local.write_text("[serve]\nport = 'x'\n")
    assert place.run("instances", "list", "--server", server.url).returncode == 0
    place.local.write_text("no toml")
    assert place.run("serve", "--help").returncode == 0
    assert place.run("version").returncode == 0


def test_a_wrong_value_in_the_environment_is_named(place: Place) -> None:
    checked = place.run("config", "check", CLOUDCHAT_SERVE_GRACE="soon")
    assert checked.returncode == 2
    assert "CLOUDCHAT_SERVE_GRACE: grace: 'soon'" in checked.stderr


def test_a_variable_that_is_none_is_named(place: Place) -> None:
    checked = place.run("config", "check", CLOUDCHAT_SERVE_PROT="1", CLOUDCHAT_SRVER="http://x")
    assert checked.returncode == 2
    assert "CLOUDCHAT_SERVE_PROT; did you mean 'CLOUDCHAT_SERVE_PORT'?" in checked.stderr
    assert "CLOUDCHAT_SRVER; did you mean 'CLOUDCHAT_SERVER'?" in checked.stderr


def test_what_kubernetes_says_of_a_service_is_no_setting(place: Place) -> None:
    told = {"CLOUDCHAT_PORT": "tcp://10.0.0.1:80", "CLOUDCHAT_SERVICE_HOST": "10.0.0.1"}
    assert place.run("config", "check", **told).returncode == 0


def test_a_file_that_cannot_be_read_is_named(place: Place) -> None:
    place.local.mkdir()
    checked = place.run("config", "check")
    assert checked.returncode == 2
    assert f"{place.local}: it cannot be read" in checked.stderr


def test_check_names_the_files(place: Place) -> None:
    place.user.write_text("[serve]\nport = 1\n")
    checked = place.run("config", "check")
    assert checked.returncode == 0
    assert checked.stdout == f"{place.local}: not there\n{place.user}: fine\n"


def test_show_names_the_origin_of_every_value(place: Place) -> None:
    place.user.write_text("# mine\n[serve]\nport = 1\n\n[limits]\nname = 8\n")
    told = place.run("config", "show", "--origin", CLOUDCHAT_SERVE_HOST="::1").stdout
    assert f"port = 1  # {place.user}:3\n" in told
    assert 'host = "::1"  # CLOUDCHAT_SERVE_HOST\n' in told
    assert f"name = 8  # {place.user}:6\n" in told
    assert "grace = 5.0  # default\n" in told


def test_what_show_prints_says_the_same_as_a_file(place: Place) -> None:
    place.user.write_text('[serve]\nprovider = "simulated:?duration=2"\nretain = ["30d", "1GB"]\n')
    told = place.run("config", "show").stdout
    place.user.unlink()
    place.local.write_text(told)
    assert place.run("config", "show").stdout == told
    assert place.run("config", "check").returncode == 0


def test_the_default_file_is_right_and_changes_nothing_also_without_its_comment_signs(
    place: Place,
) -> None:
    before = place.shown()
    default = place.run("config", "default").stdout
    place.local.write_text(default)
    assert place.shown() == before
    settings = re.sub(r"^# (\w+ = )", r"\1", default, flags=re.MULTILINE)
    place.local.write_text(re.sub(r"^nickname = .*", "", settings, flags=re.MULTILINE))
    assert place.run("config", "check").returncode == 0
    assert {**place.shown(), "limits": {}} == {**before, "limits": {}}


def test_env_prints_what_a_shell_can_take_over(place: Place) -> None:
    place.local.write_text('[serve]\nretain = ["30d", "1GB"]\n[limits]\ntext = 7\n')
    lines = place.run("config", "env").stdout.splitlines()
    told = dict(shlex.split(line)[0].split("=", 1) for line in lines if not line.startswith("#"))
    assert (told["CLOUDCHAT_SERVE_RETAIN"], told["CLOUDCHAT_SERVE_LIMIT"]) == ("30d 1GB", "text=7")
    place.local.unlink()
    assert place.run("config", "env", **told).stdout.splitlines() == lines


def test_every_setting_is_on_the_page() -> None:
    rows = re.findall(r"^\| `\[(\w+)\]` \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(SETTINGS)
    for setting, (section, key, variables, option) in zip(SETTINGS.values(), rows, strict=True):
        assert section == ("limits" if setting.limits else setting.section)
        assert key == ("a limit's name" if setting.limits else f"`{setting.key}`")
        assert re.findall("`([A-Z_]+)`", variables) == setting.variables
        assert f"`{setting.names[0]}`" in option


def test_the_example_on_the_page_is_right(place: Place) -> None:
    (example,) = re.findall("```toml\n(.*?)```", PAGE, re.DOTALL)
    place.local.write_text(example)
    assert place.run("config", "check").returncode == 0
