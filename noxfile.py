"""`nox` is the test command: everything that must hold, in virtualenvs of its own.

`nox -s tests -- tests/core -x` hands what follows `--` to pytest.
"""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and the one direction of dependencies."""
    session.install("-e", ".[testing,dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("mypy", "noxfile.py", "docs/generate.py", "examples", "benchmarks")
    session.run("lint-imports", "--no-cache")


@nox.session
def benchmark(session: nox.Session) -> None:
    """Ours beside the floor and the peers, into docs/performance.md; `-- --quick` is a short check."""
    session.install("-e", ".[benchmark]")
    if not {"--quick", "--draw", "--help"} & set(session.posargs):
        session.run("bash", "benchmarks/install_peers.sh", external=True)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, the web client's too, with branch coverage; the core must be covered to the last branch."""
    session.install("-e", ".[testing,dev]")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("coverage", "erase")
    session.run("pytest", "--cov", "--cov-report=")
    session.run("coverage", "report", "--include=src/cloudchat_core/*", "--fail-under=100")
