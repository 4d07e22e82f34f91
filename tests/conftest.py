"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines are slow and busy; a property is judged by its outcome, never by its time.
settings.register_profile("piperd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("piperd")
