"""Blocks for any pipeline of data: JSON, output files, tables, publication, dbt and Spark."""
