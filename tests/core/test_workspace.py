"""What a workspace promises holds whatever it is told, in whatever order."""

from cloudchat_core.testing.workspace import WorkspaceMachine

TestWorkspaceMachine = WorkspaceMachine.TestCase
