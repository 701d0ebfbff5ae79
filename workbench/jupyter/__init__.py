"""What notebooks and the control panel show and ask."""
