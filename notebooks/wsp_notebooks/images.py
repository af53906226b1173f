"""Image references, brought to the normal form that profiles are named by."""

import re

from wsp_notebooks.errors import StoreError

_DOMAIN = re.compile(r"^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?)+(?::[0-9]+)?$")
_REPOSITORY = re.compile(
    r"^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$"
)
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_DIGEST = re.compile(r"^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$")


def parse_image(reference: str) -> tuple[str, str]:
    """Name and tag of `nginx`, `nginx:1.25`, `nginx@sha256:…` or `nginx:1.25@sha256:…`.

    As the programs read it: `nginx` is `docker.io/library/nginx`, no tag is `latest`, and a digest counts
    where there is no tag (`@sha256:…`).
    """
    rest, _, digest = reference.partition("@")
    first, slash, _ = rest.partition("/")
    has_domain = bool(slash) and ("." in first or ":" in first or first == "localhost")
    domain, path = (first, rest[len(first) + 1 :]) if has_domain else ("docker.io", rest)
    path, colon, tag = path.partition(":")
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    is_bad = (
        not _DOMAIN.match(domain)
        or not _REPOSITORY.match(path)
        or len(f"{domain}/{path}") > 255
        or (bool(colon) and not _TAG.match(tag))
        or ("@" in reference and not _DIGEST.match(digest))
    )
    if is_bad:
        raise StoreError(f"`{reference}` is not an image reference", hint="give one as in nginx:1.25")
    if not tag:
        tag = f"@{digest}" if digest else "latest"
    return f"{domain}/{path}", tag


def image_text(name: str, tag: str) -> str:
    """Name and tag as people write them: `nginx:1.25`, `nginx@sha256:…`."""
    return f"{name}{'' if tag.startswith('@') else ':'}{tag}"


def image_of(reference: str) -> str:
    """A reference in the normal form of the column `image`."""
    return image_text(*parse_image(reference))
