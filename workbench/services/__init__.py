"""Reach or start each real component.

`postgres.held`, `spark.held` and `prefect.held` give a component for as long as a block lasts: the one a setting
names, or an embedded one that all processes of a WORKBENCH_HOME share and that stops with its last user.
"""
