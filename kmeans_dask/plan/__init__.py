"""What a job will do: the images found, the names of their outputs, and what has changed."""
