"""Reference profiles and windows: what a model's data looked like, and what it looks like now, as integer counts.

A `ReferenceProfile` is made once, when a version is registered, from the data it was trained on; it travels with the
version as canonical bytes. It cuts every feature into at most 64 bins. A `Window` counts records in those bins.
Counting is vectorised, merging is addition, so a window doesn't depend on how its records were split, ordered or
merged. `effects` says how far a window is from its reference, in numbers that people know.
Vectors are watched as a few numbers each (`vectors`).

Pure numpy: no I/O, no framework. The registry, the monitor and batch jobs share it, to get the very same bytes.
"""

from services.profile.columns import CodedText, Column
from services.profile.reference import Feature, Kind, ReferenceProfile, Role, profile_of
from services.profile.window import Window, count, empty

__all__ = [
    "CodedText",
    "Column",
    "Feature",
    "Kind",
    "ReferenceProfile",
    "Role",
    "Window",
    "count",
    "empty",
    "profile_of",
]
