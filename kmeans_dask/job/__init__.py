"""Records, checkpoints and previews that a job keeps in its output folder, and its figures."""
