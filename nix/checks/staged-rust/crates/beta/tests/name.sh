test "$CARGO_PKG_NAME" = beta; echo "ok: beta"
