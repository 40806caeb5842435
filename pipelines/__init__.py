"""Wiring: definitions, settings, resources, jobs, sensors and the command line."""
