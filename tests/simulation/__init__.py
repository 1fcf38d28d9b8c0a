"""Whole worlds in one process."""
