"""Promises of the engine, shown on the three small stages of tests/tiny_pipeline: no Spark, no dbt, seconds a run."""
