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

from cloudchat_core.clock import SECOND
from cloudchat_core.commands import Report
from cloudchat_core.instances import TRANSITIONS, Operation
from cloudchat_core.workspace import Workspace
from cloudchat_engine.ports import Provider, ProviderError, Timer, Work

logger = logging.getLogger(__name__)

_TARGETS: Final = {command: after for (_, command), (after, _) in TRANSITIONS.items()}
_RETRY: Final = 1 * SECOND
_DETAIL: Final = 500  # characters of a provider's error that are published


class Operations:
    """One task for each operation under way."""

    def __init__(
        self,
        provider: Provider,
        timer: Timer,
        now: Callable[[], int],
        report: Callable[[Report], Awaitable[bool]],
    ) -> None:
        """`report` puts an outcome into the log and tells whether it is there now."""
        self._provider, self._timer, self._now, self._report = provider, timer, now, report
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
                work = _work(operation, instance.name if instance is not None else None)
                tasks.start_soon(self._drive, work, scope, name=f"operation {key}")

    async def _drive(self, work: Work, scope: anyio.CancelScope) -> None:
        with scope:
            outcome = await self._perform(work)
            while not await self._report(outcome):
                await self._timer.wait_until(self._now() + _RETRY)

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
            return Report(work.operation, error.reason, str(error)[:_DETAIL])
        except (
            Exception
        ) as error:  # whatever a provider raises fails its operation, and nothing else
            logger.exception(
                "the provider %s failed at operation %s", self._provider.name, work.operation
            )
            return Report(
                work.operation, "provider_error", f"{type(error).__name__}: {error}"[:_DETAIL]
            )
        return Report(work.operation)


def _work(operation: Operation, name: str | None) -> Work:
    return Work(
        operation.id,
        operation.instance,
        operation.command,
        name,
        operation.spec,
        operation.received_at,
        operation.expected,
    )
