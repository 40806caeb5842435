"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes, or its making, says how busy the machine is and not what is wrong.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
