"""Real servers, killed and starved: what a person would do to them, or a machine room."""
