"""Drives the provider from the open operations, and brings its word back as a command.

Level-triggered: for each operation under way there is one task that looks at what is (`observe`), makes it what
it should be (`ensure_*`) and reports. After a crash the same tasks start again from the replayed state, so nothing
needs to be known about how far the provider had come. An operation that ends otherwise (its deadline) takes its
task along.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from cloudchat_core.commands import Report
from cloudchat_core.instances import TRANSITIONS, Operation
from cloudchat_core.workspace import Workspace
from cloudchat_engine.ports import Provider, ProviderError, Work
from cloudchat_engine.timers import LogTime

logger = logging.getLogger(__name__)

_TARGETS: Final = {command: after for (_, command), (after, _) in TRANSITIONS.items()}
_DETAIL: Final = 500  # characters of a provider's error that are published


class Operations:
    """One task for each operation under way."""

    def __init__(
        self,
        provider: Provider,
        time: LogTime,
        report: Callable[[Report], Awaitable[None]],
    ) -> None:
        """`report` returns when an outcome is in the log."""
        self._provider, self._time, self._report = provider, time, report
        self._running: dict[str, anyio.CancelScope] = {}

    def reconcile(self, state: Workspace, changed: Iterable[str], tasks: TaskGroup) -> None:
        """Start what of the operations `changed` is under way in `state`, and stop what is not."""
        for key in changed:
            operation = state.operations.get(key)
            if operation is None:
                scope = self._running.pop(key, None)
                if scope is not None:
                    scope.cancel()
            elif key not in self._running:
                self._running[key] = scope = anyio.CancelScope()
                instance = state.instances.get(operation.instance)
                name = instance.name if instance is not None else None
                work = _work(operation, name, self._time.ahead)
                tasks.start_soon(self._drive, work, scope, name=f"operation {key}")

    async def _drive(self, work: Work, scope: anyio.CancelScope) -> None:
        with scope:
            await self._report(await self._perform(work))

    async def _perform(self, work: Work) -> Report:
        ensure = {
            "stopped": self._provider.ensure_stopped,
            "running": self._provider.ensure_running,
            "absent": self._provider.ensure_absent,
        }
        target = _TARGETS[work.command]
        try:
            if await self._provider.observe(work) != target:
                await ensure[target](work)
        except ProviderError as error:
            return _failed(work, error.reason, str(error))
        except Exception as error:  # whatever a provider raises fails its operation, nothing else
            logger.exception(
                "the provider %s failed at operation %s", self._provider.name, work.operation
            )
            return _failed(work, "", f"{type(error).__name__}: {error}")
        return Report(work.operation)


def _failed(work: Work, reason: str, detail: str) -> Report:
    return Report(work.operation, reason or "provider_error", detail[:_DETAIL])


def _work(operation: Operation, name: str | None, ahead: int) -> Work:
    """Say what is to be done, in the provider's own time: it knows the clock, not how far `ahead` of it the log is."""
    return Work(
        operation.id,
        operation.instance,
        operation.command,
        name,
        operation.spec,
        operation.received_at - ahead,
        operation.expected - ahead if operation.expected else 0,
    )
