"""Runs, their stages and events in PostgreSQL, and the relay to RabbitMQ."""
