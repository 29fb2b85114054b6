"""The steps of a job: ingest, count, fit, encode; and what is done before and after them."""
