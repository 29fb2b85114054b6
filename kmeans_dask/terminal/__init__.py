"""What a command shows in a terminal: progress, and tables of results."""
