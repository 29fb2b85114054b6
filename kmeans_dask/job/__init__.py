"""What a job keeps in its output folder: records, checkpoints and previews; and its figures."""
