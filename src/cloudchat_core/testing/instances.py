"""A state machine of the fleet: commands and reports in any order, against a plain table of what may follow what."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET

from cloudchat_core.commands import Create, Remove, Report, Start, Stop
from cloudchat_core.errors import Code
from cloudchat_core.events import InstanceEvent, Received
from cloudchat_core.frames import Ack, InstanceView, OperationRef, Refusal, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.testing.driver import Driver

# Said a second time, on purpose: a slip in `TRANSITIONS` must not be believed.
_MOVES = {
    ("stopped", "start"): ("running", "started"),
    ("running", "stop"): ("stopped", "stopped"),
    ("stopped", "remove"): (None, "removed"),
    ("running", "remove"): (None, "removed"),
    (None, "create"): ("stopped", "created"),
}
_COMMANDS: dict[str, type[Start | Stop | Remove]] = {"start": Start, "stop": Stop, "remove": Remove}


@dataclass
class _Machine:
    """What the model knows of an instance; `operation` is the one under way, `command` what it does."""

    state: str | None = None
    operation: str | None = None
    command: str = ""
    deadline: float = 0


class InstanceMachine(RuleBasedStateMachine):
    """Instances are created, operated, reported on, late and removed, against a model of a few lines.

    Override `limits`, or `expected` (how long a command takes: seconds, or None). `TestCase` runs it:
    `TestInstances = InstanceMachine.TestCase`.
    """

    limits = Limits(instances=3, finished_operations=3, operation_time=30)

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(self.limits, self.expected)
        self.model: dict[str, _Machine] = {}
        self.gone: set[str] = set()

    def expected(self, command: str) -> float | None:
        """Say how long `command` takes."""
        return None if command == "remove" else 20

    @initialize()
    def begin(self) -> None:
        """One instance is there from the beginning."""
        self.create(None)
        (operation,) = self.driver.began
        self._report(operation, "")

    @rule(name=st.none() | st.text("abc", min_size=1, max_size=5))
    def create(self, name: str | None) -> None:
        """An instance is wished for; it is none before the provider says so."""
        reply = self.driver.execute(Create("", name)).reply
        if len(self.model) >= self.limits.instances:
            assert isinstance(reply, Refusal)
            assert reply.code == Code.QUOTA_EXCEEDED
        else:
            _, instance = self._accepted(reply)
            assert instance.id not in self.model.keys() | self.gone
            self.model[instance.id] = _Machine()
            self._begun(reply, "create")

    @precondition(lambda self: self.model)
    @rule(data=st.data(), command=st.sampled_from(sorted(_COMMANDS)))
    def operate(self, data: st.DataObject, command: str) -> None:
        """A command is taken when the instance is idle and in a state for it; else the refusal says why not."""
        self._operate(data.draw(st.sampled_from(list(self.model))), command)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), command=st.sampled_from(sorted(_COMMANDS)))
    def operate_and_finish(self, data: st.DataObject, command: str) -> None:
        """A command is taken, and what was under way is done at once."""
        instance = data.draw(st.sampled_from(list(self.model)))
        self._operate(instance, command)
        self._report(self.model[instance].operation or "never", "")

    @rule(data=st.data(), command=st.sampled_from(sorted(_COMMANDS)))
    def talk_of_what_is_not_there(self, data: st.DataObject, command: str) -> None:
        """Who was removed, or never came to be, is unknown for ever; a report on what is over changes nothing."""
        self._operate(data.draw(st.sampled_from(["never", *sorted(self.gone)])), command)
        self._report(data.draw(st.sampled_from(["never", *sorted(self.driver.ended)])), "")

    def _operate(self, instance: str, command: str) -> None:
        reply = self.driver.execute(_COMMANDS[command]("", instance)).reply
        known = self.model.get(instance)
        if known is None:
            assert isinstance(reply, Refusal), "who was removed is unknown for ever"
            assert reply.code == Code.INSTANCE_UNKNOWN
        elif known.operation is not None:
            assert isinstance(reply, Refusal)
            assert reply.code == Code.INSTANCE_BUSY
            assert isinstance(reply.operation, OperationRef)
            assert (reply.operation.id, reply.operation.command) == (known.operation, known.command)
        elif (known.state, command) not in _MOVES:
            assert isinstance(reply, Refusal)
            assert reply.code == Code.INSTANCE_STATE
        else:
            self._begun(reply, command)

    def _accepted(self, reply: Reply | None) -> tuple[OperationRef, InstanceView]:
        assert isinstance(reply, Ack)
        assert isinstance(reply.operation, OperationRef)
        assert isinstance(reply.instance, InstanceView)
        return reply.operation, reply.instance

    def _begun(self, reply: Reply | None, command: str) -> None:
        operation, instance = self._accepted(reply)
        known = self.model[instance.id]
        known.operation, known.command = operation.id, command
        assert operation.command == command
        held = self.driver.state.operations.get(operation.id)
        assert held is not None
        known.deadline = held.deadline
        event = self.driver.state.worklog.last()
        assert isinstance(event, Received)
        assert (event.instance, event.operation) == (instance, operation)
        assert _state(event) == known.state, "as it was before the command"
        assert event.instance.operation is UNSET

    @precondition(lambda self: self.driver.state.operations)
    @rule(data=st.data(), reason=st.sampled_from(["", "", "no_space"]))
    def report(self, data: st.DataObject, reason: str) -> None:
        """A report ends an operation under way."""
        under_way = [one.operation for one in self.model.values() if one.operation]
        self._report(data.draw(st.sampled_from(under_way)), reason)

    def _report(self, operation: str, reason: str) -> None:
        owner = next((n for n, one in self.model.items() if one.operation == operation), None)
        records = self.driver.execute(Report(operation, reason, "detail")).records
        if owner is None:
            assert records == ()
        else:
            assert len(records) == 1
            event = records[0].event
            assert isinstance(event, InstanceEvent)
            told = str(event.__struct_config__.tag)
            known = self.model[owner]
            assert told == ("failed" if reason else _MOVES[known.state, known.command][1])
            self._ended(owner, failed=bool(reason))
            assert _state(event) == (self.model[owner].state if owner in self.model else None)
            assert event.instance.operation is UNSET

    def _ended(self, owner: str, *, failed: bool) -> None:
        known = self.model[owner]
        if not failed:
            known.state = _MOVES[known.state, known.command][0]
        known.operation = None
        if known.state is None:
            del self.model[owner]
            self.gone.add(owner)

    @rule(seconds=st.sampled_from([0.001, 1, 20, 50, 100]))
    def wait(self, seconds: float) -> None:
        """Time goes by; who is not done at the deadline has failed, once."""
        self.driver.advance(seconds)
        self.driver.settle()
        now = self.driver.clock.now()
        late = [name for name, one in self.model.items() if one.operation and one.deadline <= now]
        for name in late:
            self._ended(name, failed=True)

    @rule()
    def restart(self) -> None:
        """The server dies and comes back."""
        self.driver.check_replay(0)
        self.driver.reopen()

    @invariant()
    def the_fleet_is_what_the_model_says(self) -> None:
        """Each instance is in the state that the model gives, busy when the model says so."""
        self.driver.check_bounds()
        self.driver.check_operations()
        listed = {view.id: view.state for view in self.driver.state.listed()}
        assert listed == {name: one.state for name, one in self.model.items() if one.state}
        for name, known in self.model.items():
            instance = self.driver.state.instances.get(name)
            assert instance is not None
            assert instance.operation == known.operation

    @invariant()
    def clients_know_it_too(self) -> None:
        """A client that saw all events knows what a fresh snapshot shows."""
        self.driver.check_mirror(0)


def _state(event: InstanceEvent) -> str | None:
    return None if event.instance.state is UNSET else event.instance.state
