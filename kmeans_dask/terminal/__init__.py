"""Output of commands in a terminal: progress, and tables of results."""
