"""What any pipeline of data wants: publication, run tables, dbt, Spark's files."""
