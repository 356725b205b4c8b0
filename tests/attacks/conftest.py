"""The site that is attacked: local.example is hosted here, everything else lies behind a next hop."""

from tests.cases.conftest import site, sites

__all__ = ["site", "sites"]
