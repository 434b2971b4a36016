"""Settings that every test shares: how hard hypothesis tries.

The profile is chosen with the environment variable HYPOTHESIS_PROFILE, or with pytest's
--hypothesis-profile, which wins. No profile has a deadline: a test may not depend on how busy the
machine is.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", settings.get_profile("ci"), max_examples=15)
settings.register_profile("long", settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
