"""The digest that a report is stored under: over the paths and contents of all of a package's files, caches aside."""

from __future__ import annotations

from crema.host.package_paths import package_digest

__all__ = ["package_digest"]
