"""Plan of a job: the images found, the names of their outputs, and changes since an earlier run."""
