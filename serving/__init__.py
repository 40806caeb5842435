"""Registry, release gate, exported-model inference and the HTTP endpoint."""
