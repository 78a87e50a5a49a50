test "$(cat greeting.txt)" = hello
test "$(env "$(printenv CARGO_BIN_EXE_alpha)" hello)" = "alpha says hello"
echo "ok: ${PWD##*/} greets with $# arguments: $*"
