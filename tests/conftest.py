"""How hypothesis runs: nothing here asserts on time, and on a busy machine its first example takes seconds."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
