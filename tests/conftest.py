"""For all tests: hypothesis looks for wrong answers, not for slow ones; a busy machine must not fail a test."""

from hypothesis import HealthCheck, settings

settings.register_profile("crema", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crema")
