"""The flake-parts module, in a fake flake-parts.

flake-parts and the nixpkgs library it needs aren't here. The fakes of them below merge
definitions with the module's own option types, as `lib.evalModules` would, and knows of `mkIf`
and of nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nix.evaluation import ROOT, evaluate, refusal

if TYPE_CHECKING:
    from pathlib import Path

FAKE = f"""
let
  inherit (builtins)
    all attrNames concatMap elemAt filter head isAttrs length listToAttrs mapAttrs zipAttrsWith;
  mkIf = condition: content: {{ _type = "if"; inherit condition content; }};
  isIf = value: isAttrs value && value._type or null == "if";
  discharge = concatMap (
    def:
    if !(isIf def.value) then [ def ]
    else if def.value.condition then [ (def // {{ value = def.value.content; }}) ]
    else [ ]
  );
  byName = defs: zipAttrsWith (_: same: same) (
    map (def: mapAttrs (_: value: {{ inherit value; }}) def.value) defs
  );
  keep = fits: set:
    let kept = filter (name: fits set.${{name}}) (attrNames set);
    in listToAttrs (map (name: {{ inherit name; value = set.${{name}}; }}) kept);
  attributes = present: element: {{
    merge = loc: defs:
      mapAttrs (name: same: element.merge (loc ++ [ name ]) (discharge same))
        (keep present (byName defs));
  }};
  lib = {{
    last = list: elemAt list (length list - 1);
    literalExpression = text: text;
    mkOption = option: option;
    mkOptionType = type: type;
    mergeEqualOption = loc: defs:
      if length defs == 1 || all (def: def.value == (head defs).value) defs then (head defs).value
      else throw "conflicting values of ${{builtins.concatStringsSep "." loc}}";
    types = {{
      raw = {{ }};
      attrsOf = attributes (same: discharge same != [ ]);
      lazyAttrsOf = attributes (_: true);
    }};
  }};
  merge = loc: option: values:
    let defs = discharge (map (value: {{ inherit value; }}) values);
    in if defs == [ ] then option.default else option.type.merge loc defs;
  parts = {{ systems ? [ "x86_64-linux" ], pikaci ? {{ }}, modules }}:
    let
      module = import {ROOT}/nix/flake-module.nix {{
        inherit lib config;
        flake-parts-lib.mkPerSystemOption = module: module;
        getSystem = system: {{
          pikaci.targets =
            merge [ "targets" ] module.options.perSystem.options.pikaci.targets
              (map (make: make system) modules);
        }};
      }};
      config = {{
        inherit systems;
        pikaci = mapAttrs (
          name: option:
          merge [ name ] option (if pikaci ? ${{name}} then [ pikaci.${{name}} ] else [ ])
        ) module.options.pikaci;
      }};
    in
    module.config.flake.pikaci;
  linux = modules: (parts {{ modules = map (targets: _: targets) modules; }}).x86_64-linux;
in
"""


def test_a_target_may_be_spread_over_modules() -> None:
    plan = evaluate(
        f"{FAKE} (linux ["
        ' { check = { title = "Check"; prepare.a.drv = drv "a"; jobs.build = {'
        '     command = "true"; needs = [ "a" ]; env.A = "1"; }; }; }'
        ' { check = { title = "Check"; prepare.b.drv = drv "b";'
        '     jobs.build = { needs = [ "b" ]; env.B = "2"; resources.cpus = 2; };'
        '     jobs.lint.command = "lint"; }; }'
        " ]).plans.check"
    )
    jobs = {node["job_id"]: node for node in plan["nodes"] if node["kind"] == "execute"}
    assert plan["target_description"] == "Check"
    assert set(jobs) == {"build", "lint"}
    build = jobs["build"]["execute"]
    assert build["env"] == {"A": "1", "B": "2"}
    assert build["resources"]["cpus"] == 2
    assert [given["env"] for given in build["inputs"]] == ["PIKACI_INPUT_A", "PIKACI_INPUT_B"]


def test_a_catalog_forces_no_derivation_and_a_plan_none_of_other_targets() -> None:
    catalog, plan = evaluate(
        f"{FAKE} let it = linux ["
        ' { x.jobs.a.command = "true"; y = { prepare.dep.drv = throw "forced";'
        '   jobs.a.command = throw "forced"; }; }'
        ' { y.jobs.a.env.A = throw "forced"; }'
        " ]; in [ it.catalog it.plans.x ]"
    )
    assert [target["id"] for target in catalog["targets"]] == ["x", "y"]
    assert plan["target_id"] == "x"


def test_the_systems_are_those_of_flake_parts_that_pikaci_knows() -> None:
    systems = '[ "x86_64-linux" "riscv64-linux" "aarch64-darwin" ]'
    found = evaluate(
        f"{FAKE} builtins.mapAttrs (_: it: map (target: target.id) it.catalog.targets)"
        f" (parts {{ systems = {systems}; modules = [ (system: {{"
        '  everywhere.jobs.a.command = "true";'
        '  mac = mkIf (system == "aarch64-darwin") { jobs.a.command = "true"; };'
        " }) ]; })"
    )
    assert found == {"x86_64-linux": ["everywhere"], "aarch64-darwin": ["everywhere", "mac"]}


def test_lanes_and_images_are_said_once_for_all_systems(tmp_path: Path) -> None:
    (tmp_path / "lanes.toml").write_text('version = 1\n[[branch.lanes]]\nid = "l"\ntarget = "x"\n')
    catalog = evaluate(
        f"{FAKE} (parts {{"
        f" pikaci = {{ lanes = {tmp_path}/lanes.toml;"
        '   images.runner.alias = "pikaci/dev"; };'
        ' modules = [ (_: { x = { trigger = "branch"; jobs.a.command = "true"; }; }) ];'
        " }).x86_64-linux.catalog"
    )
    assert [lane["id"] for lane in catalog["lanes"]["branch"]] == ["l"]
    assert [image["role"] for image in catalog["images"]] == ["runner"]


def test_an_image_is_built_by_what_its_package_gives_for_the_system() -> None:
    image = evaluate(
        f"{FAKE} (parts {{"
        '   pikaci.images = { runner = { alias = "pikaci/dev"; package = _: drv "image"; };'
        '     other = { alias = "pikaci/vm"; package = throw "forced"; }; };'
        "   modules = [ ]; }).x86_64-linux.images.runner"
    )
    assert image["drv_path"].endswith("-image.drv")


def sentence(*modules: str) -> str:
    return refusal(f"{FAKE} linux [ {' '.join(modules)} ]").partition("pikaci: ")[2]


def test_mistakes_are_named_as_they_are_without_flake_parts() -> None:
    ok = '{ x.jobs.a.command = "true"; }'
    assert sentence(ok, '{ x.jobs.a.needs = [ "build" ]; }') == (
        'targets.x.jobs.a.needs: expected prepares and jobs of this target, found "build"'
    )
    assert sentence(ok, '{ x.tittle = "X"; }') == (
        "targets.x: expected only the keys description, jobs, preconditions, prepare, reuse,"
        ' snapshot, title, trigger, found "tittle" (did you mean "title"?)'
    )
    assert sentence("{ x.jobs = [ ]; }") == (
        "targets.x.jobs: expected an attribute set of jobs, found an empty list"
    )
    assert sentence("{ x = 5; }") == "targets.x: expected an attribute set, found the integer 5"
    assert sentence(ok, "{ x.prepare.dep.drv = 5; }") == (
        "targets.x.prepare.dep.drv: expected a derivation, found the integer 5"
    )


def test_two_modules_that_say_different_things_are_told_so() -> None:
    assert refusal(
        f'{FAKE} linux [ {{ x.title = "a"; x.jobs.a.command = "true"; }} {{ x.title = "b"; }} ]'
    ).endswith("conflicting values of targets.x.title")
