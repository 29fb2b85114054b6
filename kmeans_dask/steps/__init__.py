"""Steps of a job: ingest, count, fit and encode, and what is done before and after them."""
