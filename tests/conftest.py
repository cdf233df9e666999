"""Property tests draw the same examples everywhere: they fail for everybody or for nobody."""

import os

from hypothesis import HealthCheck, settings

# Before torch is imported: test processes share the cores, and a spinning thread starves the rest.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Nor do the settings of whoever runs the tests have a say, in this process or in those it starts.
os.environ["PITWALL_CONFIG"] = os.devnull

settings.register_profile(
    "pitwall",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("pitwall")
