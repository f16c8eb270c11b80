"""Settings for every test."""

from hypothesis import HealthCheck, settings

# A busy machine draws slowly: how long an example takes says nothing about what it shows.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
