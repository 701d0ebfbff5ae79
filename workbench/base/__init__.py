"""What everything else stands on: errors, settings, logs, redaction."""
