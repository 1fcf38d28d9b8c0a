"""A reader is a cursor: from wherever it stands it gets what follows, once, whole and in order."""

from cloudchat_core.testing.feed import FeedMachine

TestFeedMachine = FeedMachine.TestCase
