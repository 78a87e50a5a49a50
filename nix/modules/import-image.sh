# shellcheck shell=bash
# Have an image in a project under an alias: import_image PROJECT ALIAS METADATA ROOTFS BUILT_FROM
#
# The image comes first and the alias is then turned to it in one request, so that there is no moment without the
# alias. What BUILT_FROM names is imported once: the property user.pikaci.drv tells. Without it the contents tell. An
# image that the alias had before stays: guests may be starting from it.
import_image() {
  local project=$1 alias=$2 metadata=$3 rootfs=$4 built_from=$5
  local fingerprint='' target

  if [ -n "$built_from" ]; then
    fingerprint=$(incus image list --project "$project" --format json |
      jq -r --arg drv "$built_from" '[.[] | select(.properties["user.pikaci.drv"] == $drv)][0].fingerprint // ""')
  fi
  if [ -z "$fingerprint" ]; then
    # What Incus calls it.
    fingerprint=$(cat "$metadata" "$rootfs" | sha256sum)
    fingerprint=${fingerprint%% *}
    image_exists "$project" "$fingerprint" ||
      incus image import --quiet --project "$project" "$metadata" "$rootfs"
    # In a step of its own: given with the import, it brings down an incusd (6.0) whose image has no properties.
    [ -z "$built_from" ] ||
      incus image set-property --project "$project" "$fingerprint" user.pikaci.drv "$built_from"
  fi

  target=$(incus image alias list --project "$project" --format json |
    jq -r --arg name "$alias" '.[] | select(.name == $name).target')
  if [ -z "$target" ]; then
    incus image alias create --project "$project" "$alias" "$fingerprint"
  elif [ "$target" != "$fingerprint" ]; then
    incus query --request PATCH --data "{\"target\": \"$fingerprint\"}" \
      "/1.0/images/aliases/$alias?project=$project"
  fi
}

image_exists() {
  [ "$(incus image list --project "$1" --format json | jq --arg it "$2" 'any(.fingerprint == $it)')" = true ]
}
