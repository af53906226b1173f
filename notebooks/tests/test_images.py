"""Image references have the normal form that the programs give them."""

from pathlib import Path

import pytest
from conftest import Programs

from wsp_notebooks import StoreError, image_of
from wsp_notebooks.images import parse_image

DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("nginx", "docker.io/library/nginx", "latest"),
        ("nginx:1.25", "docker.io/library/nginx", "1.25"),
        ("docker.io/nginx:1.25", "docker.io/library/nginx", "1.25"),
        ("index.docker.io/nginx:1.25", "docker.io/library/nginx", "1.25"),
        ("bitnami/redis:7", "docker.io/bitnami/redis", "7"),
        ("localhost/demo/web:1.22", "localhost/demo/web", "1.22"),
        ("registry:5000/a/b/c:t", "registry:5000/a/b/c", "t"),
        (f"nginx@{DIGEST}", "docker.io/library/nginx", f"@{DIGEST}"),
        (f"nginx:1@{DIGEST}", "docker.io/library/nginx", "1"),
    ],
)
def test_normal_form(reference: str, name: str, tag: str) -> None:
    assert parse_image(reference) == (name, tag)
    assert image_of(image_of(reference)) == image_of(reference)


@pytest.mark.parametrize(
    "reference", ["", "Nginx", "nginx:", "nginx:-1", "a b", "nginx@sha256:12", "x/../y", "a//b:1"]
)
def test_what_is_no_reference(reference: str, wsp: Programs, recordings: Path) -> None:
    with pytest.raises(StoreError, match="is not an image reference"):
        parse_image(reference)
    # Nor is it one for the programs.
    wsp("show", reference, "--store", recordings, allowed=(1,))
