# manifest.sh OUT JSON: writes OUT's payload manifest, JSON with every program under OUT/bin as an entrypoint.
set -euo pipefail
out=$1 json=$2
entrypoints=
for program in "$out/bin"/*; do
  entrypoints+="${entrypoints:+,}\"bin/${program##*/}\""
done
mkdir -p "$out/share/pikaci"
printf '%s\n' "{\"entrypoints\":[$entrypoints],${json#\{}" > "$out/share/pikaci/payload-manifest.json"
