"""The served specifications, and what holds servers to them in all other tests."""
