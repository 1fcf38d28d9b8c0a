"""What holds the packages together: what is public, what is shipped, who may import whom."""

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent
TOP = ("cloudchat_core", "cloudchat_engine", "cloudchat_transports", "cloudchat_cli")
EFFECTS = {
    *("anyio", "asyncio", "click", "concurrent", "httpx", "io", "multiprocessing", "os", "pathlib"),
    *("queue", "random", "secrets", "select", "selectors", "shutil", "signal", "sniffio", "socket"),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "trio", "urllib"),
}
CLOCK = ROOT / "src/cloudchat_core/clock.py"


def public_packages() -> list[str]:
    inits = (init for top in TOP for init in sorted((ROOT / "src" / top).rglob("__init__.py")))
    names = (".".join(init.parent.relative_to(ROOT / "src").parts) for init in inits)
    return [name for name in names if "._" not in name]


def imports_of(source: Path) -> set[str]:
    """The top-level names that a file imports, wherever in the file it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def core_sources() -> list[Path]:
    return sorted((ROOT / "src/cloudchat_core").rglob("*.py"))


def build(what: str, source: Path, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", what, "-d", str(out)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    return zipfile.Path(build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


def public_names(module: ModuleType) -> set[str]:
    """What the package's `__init__` defines, or takes from packages of ours, without underscore."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.ImportFrom(module=origin, names=aliases, level=level):
                if level or (origin or "").partition(".")[0] in TOP:
                    names.update(alias.asname or alias.name for alias in aliases)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("package", public_packages())
def test_a_package_exports_exactly_what_its_all_names(package: str) -> None:
    module = importlib.import_module(package)
    exported = module.__all__
    assert len(exported) == len(set(exported))
    assert public_names(module) <= set(exported)
    assert [name for name in exported if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", public_packages())
def test_what_a_package_exports_says_what_it_is(package: str) -> None:
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    documented = (getattr(module, name) for name in module.__all__)
    silent = [
        thing.__name__
        for thing in documented
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing)
    ]
    assert silent == []


@pytest.mark.parametrize("source", core_sources(), ids=lambda path: path.stem)
def test_the_core_imports_no_clock_loop_socket_thread_or_chance(source: Path) -> None:
    allowed = {"time"} if source == CLOCK else set()
    assert imports_of(source) & EFFECTS <= allowed


def test_importing_the_core_loads_no_event_loop() -> None:
    script = (
        "import sys, cloudchat_core\n"
        "print(sorted({'anyio', 'trio', 'hypercorn', 'httpx', 'sqlite3', 'cloudchat_engine'}"
        " & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=300
    )
    assert ran.stdout.strip() == "[]"


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = sorted((ROOT / "src").rglob("*.py"))
    kits = {source for source in sources if "testing" in source.parts}
    ours = {*TOP, *sys.stdlib_module_names}

    def imported(files: Iterable[Path]) -> set[str]:
        return {name.replace("_", "-") for file in files for name in imports_of(file) - ours}

    def declared(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}

    runtime = declared(project["dependencies"])
    assert imported(set(sources) - kits) == runtime
    extras = project["optional-dependencies"]
    testing = runtime | declared(extras["testing"])
    assert imported(kits) <= testing
    ours |= {"tests", "benchmarks", "examples"}
    benchmarks = {*(ROOT / "benchmarks").rglob("*.py")}
    peers = {file for file in benchmarks if "peers" in file.parts}
    assert imported(benchmarks - peers) <= runtime | declared(extras["benchmark"])
    # Servers to compare with are no part of the project: a script installs what they run on.
    required = (ROOT / "benchmarks/peers/requirements.txt").read_text().splitlines()
    assert imported(peers) == declared([line for line in required if not line.startswith("#")])
    others = {file for place in ("tests", "examples") for file in (ROOT / place).rglob("*.py")}
    fuzzer = {ROOT / "tests/fuzzing/explore.py"}  # the one that the tests do without
    assert imported(others - fuzzer) <= testing | declared(extras["dev"])
    assert imported(fuzzer) <= declared(extras["fuzzing"])


def test_dependencies_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout


def test_the_wheel_ships_every_package_with_its_types(wheel: zipfile.Path) -> None:
    for top in TOP:
        shipped = {
            name
            for name in wheel.root.namelist()
            if name.startswith(f"{top}/") and not name.endswith("/")
        }
        written = {
            (Path(folder) / name).relative_to(ROOT / "src").as_posix()
            # The web client is a link to where it is developed.
            for folder, _, names in os.walk(ROOT / "src" / top, followlinks=True)
            for name in names
            if not folder.endswith("__pycache__")
        }
        assert shipped == written
        assert f"{top}/py.typed" in shipped


def test_a_wheel_built_from_the_source_distribution_is_the_same(
    wheel: zipfile.Path, tmp_path: Path
) -> None:
    archive = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    again = zipfile.Path(build("wheel", unpacked, tmp_path / "wheel"))
    assert sorted(again.root.namelist()) == sorted(wheel.root.namelist())


def test_the_web_client_comes_from_the_wheel_wherever_one_stands(
    wheel: zipfile.Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    wheel.root.extractall(site)
    script = (
        "import sys, cloudchat_cli, cloudchat_transports\n"
        "assert cloudchat_transports.__file__.startswith(sys.argv.pop(1))\n"
        "cloudchat_cli.main()"
    )
    command = [sys.executable, "-c", script, str(site), "serve", "--port", "0", "--log", "memory:"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().partition("http://")[2].split()[0]
            with urlopen(f"http://{url}", timeout=60) as page:
                names = re.findall(r'(?:src|href)="([^"]+)"', page.read().decode())
            assert any(name.endswith("/main.js") for name in names)
            for name in names:
                with urlopen(f"http://{url}{name}", timeout=60) as file:
                    assert file.status == 200
        finally:
            server.terminate()


def test_the_wheel_ships_nothing_but_the_packages_and_their_licence(wheel: zipfile.Path) -> None:
    roots = {name.partition("/")[0] for name in wheel.root.namelist()}
    (info,) = roots - set(TOP)
    assert info.endswith(".dist-info")
    assert f"{info}/licenses/LICENSE" in wheel.root.namelist()


def test_the_command_is_called_cloudchat() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="cloudchat")
    assert callable(command.load())


def test_the_version_stands_in_one_place() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert importlib.metadata.version("cloudchat") == declared
    elsewhere = [
        path for path in (ROOT / "src").rglob("*.py") if f'"{declared}"' in path.read_text()
    ]
    assert elsewhere == []
