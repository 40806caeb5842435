"""Training that survives faults on one machine: perceive, decide, restart, account."""
