"""Facts about the pure core: each holds without a socket, a file or a wall clock."""
