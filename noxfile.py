"""`nox` is the test command: everything that must hold, in a virtualenv of its own.

`nox -s tests -- tests/core -x` hands what follows `--` to pytest.
"""

import os

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["checks"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def checks(session: nox.Session) -> None:
    """What `lint` and `tests` are, without installing twice."""
    install(session)
    see_style(session)
    run_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and the one direction of dependencies."""
    install(session)
    see_style(session)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, the web client's too; the core must be covered to the last branch, by its own tests."""
    install(session)
    run_tests(session)


@nox.session
def benchmark(session: nox.Session) -> None:
    """Ours beside the floor and the peers, into docs/performance.md; `-- --quick` is a short check."""
    session.install("-e", ".[benchmark]")
    if not {"--quick", "--draw", "--help"} & set(session.posargs):
        session.run("bash", "benchmarks/install_peers.sh", external=True)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hostile input, looked for by atheris: `-- TARGET… --seconds 60`; what it finds is kept in the tests' corpus."""
    session.install("-e", ".[fuzzing]")
    session.run("python", "-m", "tests.fuzzing", *session.posargs)


def install(session: nox.Session) -> None:
    """Install the project as it lies here, and all its tools."""
    session.install("-e", ".[testing,dev]")


def see_style(session: nox.Session) -> None:
    """See that the code is as it should look."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("mypy", "noxfile.py", "docs/generate.py", "examples", "benchmarks")
    session.run("lint-imports", "--no-cache")


def run_tests(session: nox.Session) -> None:
    """Run all tests, in several processes; or what one asks pytest for."""
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("coverage", "erase")
    # One more than there are cores, since a third of the time is spent waiting for programs. Neighbours stay together,
    # as they share servers and browsers; who has nothing left takes from whoever has most.
    processes = f"--numprocesses={(os.cpu_count() or 1) + 1}"
    session.run("pytest", processes, "--dist=worksteal", "--cov", "--cov-report=")
    session.run("coverage", "report", "--fail-under=100")
