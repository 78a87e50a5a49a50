#!/usr/bin/env bash
# in-toto-attestation 0.9.3: every number in a predicate or an annotation is a double; an integer past 2^53 is another one.
#
# Statement and ResourceDescriptor hold them in protobuf's Struct, whose only number is a double. A statement that is read
# and written again has 1.0 for 1, so its digest differs, and sizes or ids of more than 53 bits are silently wrong. What is
# written as text stays. Go's and other languages' libraries are made from the same definition.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check in-toto-attestation==0.9.3 protobuf==6.32.0 2>/dev/null

cat >ask.py <<'PY'
import json

from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement

given = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a", "digest": {"sha256": "00"}, "annotations": {"bytes": 2**53 + 1}}],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {"one": 1, "large": 2**53 + 1, "text": str(2**53 + 1)},
}
statement = Statement([], "", {})
json_format.ParseDict(given, statement.pb)
statement.validate()
read = json.loads(json_format.MessageToJson(statement.pb))
print("annotation:", read["subject"][0]["annotations"]["bytes"])
for name in given["predicate"]:
    print(f"{name}: {given['predicate'][name]!r} is read as {read['predicate'][name]!r}")
PY
venv/bin/python ask.py | tee seen
cat >expected <<'TEXT'
annotation: 9007199254740992.0
one: 1 is read as 1.0
large: 9007199254740993 is read as 9007199254740992.0
text: '9007199254740993' is read as '9007199254740993'
TEXT
diff expected seen
