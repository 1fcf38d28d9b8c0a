"""The machines hold for any limits, so that others can run them with theirs."""

from hypothesis import settings

from cloudchat_core.limits import Limits
from cloudchat_core.testing import FeedMachine, InstanceMachine, WorkspaceMachine

FEW = settings(max_examples=25)


class AsShipped(WorkspaceMachine):
    limits = Limits(text=40)


class Tiny(WorkspaceMachine):
    limits = Limits(
        text=40,
        frame=1_600,
        participants=1,
        instances=1,
        finished_operations=1,
        operation_time=1,
        command_ids=1,
        token_memory=1,
        tokens=2,
        shared_ids=1,
        shared_memory=1,
    )


class Unforeseen(InstanceMachine):
    limits = Limits(instances=1, finished_operations=1)

    def expected(self, command: str) -> float | None:
        return None


class NarrowWindow(FeedMachine):
    window = 1
    head = 0
    framings = (bytes,)


TestAsShipped = AsShipped.TestCase
TestTiny = Tiny.TestCase
TestUnforeseen = Unforeseen.TestCase
TestNarrowWindow = NarrowWindow.TestCase
for case in (TestAsShipped, TestTiny, TestUnforeseen, TestNarrowWindow):
    case.settings = FEW
del case
