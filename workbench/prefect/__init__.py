"""Everything that knows Prefect."""
