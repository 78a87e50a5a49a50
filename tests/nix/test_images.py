"""Images of a catalog: each named for plans, and built only on request."""

from __future__ import annotations

import pytest

from nix.evaluation import evaluate

IMAGES = """{
  runner = {
    alias = "pikaci/dev";
    instanceType = "container";
    package = system: derivation { name = "image"; inherit system; builder = "/bin/sh"; };
  };
  other = { alias = "pikaci/vm"; package = throw "forced"; };
}"""


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
def test_an_image_is_the_derivation_for_its_system(system: str) -> None:
    image, drv = evaluate(
        f'[ (lib.mkCatalog {{ systems = [ "x86_64-linux" "aarch64-linux" ]; targets = _: {{ }};'
        f" images = {IMAGES}; }}).{system}.images.runner"
        f' ({IMAGES}.runner.package "{system}").drvPath ]'
    )
    assert image == {
        "role": "runner",
        "alias": "pikaci/dev",
        "instance_type": "container",
        "drv_path": drv,
        "out_path": image["out_path"],
    }
    assert image["out_path"].endswith("-image")


def test_an_image_may_be_a_derivation_without_a_function() -> None:
    image = evaluate(
        '(mk { images.runner = { alias = "a"; package = drv "image"; }; }).images.runner'
    )
    assert image["instance_type"] == "virtual-machine"
    assert image["drv_path"].endswith("-image.drv")


def test_a_plan_names_an_image_and_forces_none() -> None:
    plan = evaluate(
        f'(mk {{ images = {IMAGES}; targets = _: {{ hello.jobs.greet = {{ command = "true";'
        ' runtime = "incus"; incus.role = "other"; }; }; }).plans.hello'
    )
    assert plan["images"] == [
        {"role": "other", "alias": "pikaci/vm", "instance_type": "virtual-machine"}
    ]


def test_roles_may_share_an_alias_of_one_instance_type() -> None:
    images = '{ a.alias = "pikaci/dev"; b.alias = "pikaci/dev"; }'
    catalog = evaluate(f"(mk {{ images = {images}; }}).catalog")
    assert [image["role"] for image in catalog["images"]] == ["a", "b"]
