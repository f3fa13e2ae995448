# ./dev build: the release binary, static, at target/tug; ./dev's own tool beside it in the same go.

build_all() {
  local triple flags=""
  triple=$(link_triple)
  [ "$(link_kind)" = "$TUG_LINK" ] || loud "NO MUSL TARGET: linking statically against glibc"
  [ "$(link_kind)" = glibc ] && flags="-C target-feature=+crt-static"
  # A fixed address saves the loader's relocations at every start of a program that starts often.
  [ "$TUG_PIE" = yes ] || flags="$flags -C relocation-model=static"
  say "building tug (release, $triple, pie: $TUG_PIE)"
  (
    cd "$ROOT" || exit 1
    export CC_x86_64_unknown_linux_musl=musl-gcc CC_aarch64_unknown_linux_musl=musl-gcc
    export RUSTFLAGS="${RUSTFLAGS:-} $flags"
    # shellcheck disable=SC2086
    CARGO_TARGET_DIR=$TARGET cargo build --release --target "$triple" ${1:--p tug -p tug-test --bins} >&2
  ) || die "the build failed"
  DEVTOOL=$TARGET/$triple/release/tug-dev
  [ "${1:-}" ] && return
  mkdir -p "$ROOT/target"
  # Replaced by a rename: the old one may be running.
  cp "$TARGET/$triple/release/tug" "$PRODUCT.new" && mv "$PRODUCT.new" "$PRODUCT"
  cp "$DEVTOOL" "$ROOT/target/tug-dev.new" && mv "$ROOT/target/tug-dev.new" "$ROOT/target/tug-dev"
  is_static "$PRODUCT" || die "$PRODUCT is not a static binary"
  say "target/tug: $(stat -c %s "$PRODUCT") bytes, $(file -b "$PRODUCT" | cut -d, -f1-4)"
}

is_static() { file -b "$1" | grep -Eq 'statically linked|static-pie linked'; }

# $DEVTOOL alone, for those who only make images.
build_devtool() { [ -n "${DEVTOOL:-}" ] || build_all "-p tug-test --bin tug-dev"; }
