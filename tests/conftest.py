"""Property tests draw the same examples everywhere: they fail for everybody or for nobody."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pitwall",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("pitwall")
