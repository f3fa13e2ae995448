# Programs of arm64: Debian's static busybox for it, and the one emulator of qemu-user-static that runs it.
# Unpacked below .cache like every tool; the tests register the emulator with the kernel for themselves.

FOREIGN=$TOOLS/arm64/bin/busybox
EMULATOR=$TOOLS/usr/bin/qemu-aarch64-static

install_foreign() {
  [ -x "$FOREIGN" ] && [ -x "$EMULATOR" ] && return
  say "unpacking busybox for arm64 and its emulator into ${TOOLS#"$ROOT"/}"
  foreign_unpack || loud "NO ARM64 HERE: the tests of foreign platforms will be skipped"
}

foreign_unpack() {
  local scratch status=0
  scratch=$(mktemp -d)
  (
    set -e
    mkdir -p "$TOOLS"
    cd "$scratch"
    if [ ! -x "$FOREIGN" ]; then
      mkdir -p lists/partial cache/archives/partial
      echo "deb $DEBIAN_MIRROR $DEBIAN_SUITE main" >sources.list
      # This machine's own apt knows packages of its own architecture only, and is left alone.
      local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64
        -o "Dir::State=$scratch" -o "Dir::State::lists=$scratch/lists" -o Dir::State::status=/dev/null
        -o "Dir::Cache=$scratch/cache" -o "Dir::Etc::sourcelist=$scratch/sources.list"
        -o Dir::Etc::sourceparts=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root)
      "${apt[@]}" update >&2
      "${apt[@]}" download busybox-static >&2
      dpkg -x busybox-static_*_arm64.deb "$TOOLS/arm64"
    fi
    if [ ! -x "$EMULATOR" ]; then
      apt_update
      apt-get download -qq -o APT::Sandbox::User=root qemu-user-static >&2
      # One of thirty, each of several megabytes.
      dpkg --fsys-tarfile qemu-user-static_*.deb | tar -x -C "$TOOLS" ./usr/bin/qemu-aarch64-static
    fi
  ) || status=$?
  rm -rf "$scratch"
  [ "$status" = 0 ] && [ -x "$FOREIGN" ] && [ -x "$EMULATOR" ]
}

# busybox-arm64, beside the other images but not part of their recipe: a change here remakes no Debian.
make_foreign() {
  [ -x "$FOREIGN" ] || return 0
  local archive=$CACHE/images/busybox-arm64.tar
  [ "$archive" -nt "$FOREIGN" ] && [ "$archive" -nt "$ROOT/crates/tug-test/src/foreign.rs" ] && return
  build_devtool
  mkdir -p "$CACHE/images"
  "$DEVTOOL" foreign "$CACHE/images/foreign" arm64 "$FOREIGN" || die "no image for arm64"
}
