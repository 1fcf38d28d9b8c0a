"""The web client beside its pages: that it is sound, and what is made of it for other places."""
