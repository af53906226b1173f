"""What a notebook needs."""

from importlib.metadata import PackageNotFoundError, version

# The oldest that have what is used here: maps in polars, and its reading of Delta tables by deltalake 1.
_OLDEST = {"polars": (2, 1), "deltalake": (1, 6), "altair": (6, 0)}


def check_versions() -> str:
    """The versions of what notebooks are made with, in one line; an error where one is too old or missing."""
    found = {}
    for name, oldest in _OLDEST.items():
        wanted = ".".join(map(str, oldest))
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise ImportError(f"{name} is missing: pip install '{name}>={wanted}'") from None
        if tuple(int(part) for part in found[name].split(".")[:2]) < oldest:
            raise ImportError(f"{name} {found[name]} is too old: pip install '{name}>={wanted}'")
    return ", ".join(f"{name} {number}" for name, number in found.items())
