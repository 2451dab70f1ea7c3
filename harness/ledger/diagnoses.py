"""The kinds of side records that `peftlab diagnose` writes, with the version of each one's schema."""

VERSIONS = {
    "generalization": 1,
    "forgetting": 1,
    "bounds": 1,
    "intruders": 1,
    "geometry": 1,
    "amplification": 1,
    "subspaces": 1,
    "curvature": 1,
    "landscape": 1,
    "start": 1,
}
CHECKPOINTS = ("selected", "last")
