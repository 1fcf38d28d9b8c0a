"""An instance lives by one table, whatever is asked and reported in whatever order."""

from cloudchat_core.testing.instances import InstanceMachine

TestInstanceMachine = InstanceMachine.TestCase
