"""The steps of the job: plan, ingest, count, fit, encode; and `compress`, which is all of them."""
