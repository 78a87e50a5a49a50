#!/usr/bin/env bash
# `pikaci run TARGET` as somebody would do it by hand who cares about the same things: the tree as it
# is, untracked files included, without touching the user's index; the plan of exactly that tree;
# prepared outputs taken only if Nix vouches for them; the job with its inputs, its output in a log.
#
# usage: by-hand.sh TARGET STATE, in the top of a work tree
set -euo pipefail
target=$1 state=$2

[ -d "$state/git" ] || git init --quiet --bare "$state/git"
mkdir -p "$state/artifacts"

export GIT_DIR=$state/git GIT_WORK_TREE=$PWD GIT_INDEX_FILE=$state/index
export GIT_AUTHOR_NAME=me GIT_AUTHOR_EMAIL=me@localhost GIT_AUTHOR_DATE='315532800 +0000'
export GIT_COMMITTER_NAME=me GIT_COMMITTER_EMAIL=me@localhost GIT_COMMITTER_DATE='315532800 +0000'
git add --all
tree=$(git write-tree)
commit=$(git commit-tree -m snapshot "$tree")
git update-ref "refs/snapshots/$tree" "$commit"
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# The plan to keep, and what the shell needs of it as lines to source.
nix eval --json --option eval-cache false \
  "git+file://$state/git?ref=refs/snapshots/$tree&rev=$commit#.pikaci" \
  --apply "pikaci: pikaci.$(uname -m)-linux.plans.$target" \
  > "$state/plan.json"

for out in $(jq -r '.nodes[] | select(.kind == "prepare") | .prepare.out_path' "$state/plan.json")
do
  nix path-info "$out" > "$state/path-info" || nix build "$out"
done

jq -r '
  (.nodes | map(select(.kind == "prepare") | {key: .id, value: .prepare.out_path}) | from_entries)
    as $outputs
  | .nodes[] | select(.kind == "execute") | .execute
  | (.env | to_entries[] | "export \(.key)=\(.value | @sh)"),
    (.inputs[] | select(.env) | "export \(.env)=\($outputs[.node_id] | @sh)"),
    "command=\(.command | @sh)"
' "$state/plan.json" > "$state/job"
. "$state/job"
PIKACI_ARTIFACTS=$state/artifacts bash -c "$command" > "$state/log" 2>&1
