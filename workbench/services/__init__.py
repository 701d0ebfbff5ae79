"""Reach or start each real component.

`postgres.held`, `spark.held` and `prefect.held` yield the address of a component for a block: of the one that a setting
names, or of an embedded one that all processes of a WORKBENCH_HOME share and that stops after its last user.
"""
