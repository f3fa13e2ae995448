# Shared by every part of ./dev: where things are, and how to speak.

# --- the one switch --------------------------------------------------------------------------------
# How the product is linked. musl: static against musl. glibc: static against glibc, also the fallback
# where rustup has no musl target. pie: yes makes the static binary position independent.
: "${TUG_LINK:=musl}"
: "${TUG_PIE:=no}"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${TUG_CACHE:-$ROOT/.cache}
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
LAYOUT=$CACHE/images/oci          # an OCI layout holding the base images
TOOLS=$CACHE/tools                # programs unpacked from Debian packages, never installed
PRODUCT=$ROOT/target/tug
IMAGES=(busybox:latest debian:latest nginx:latest node:latest)
DEBIAN_SUITE=bookworm
DEBIAN_MIRROR=${TUG_DEBIAN_MIRROR:-http://deb.debian.org/debian}

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
loud() { printf '\033[1;33m!! %s\033[0m\n' "$*" >&2; }
die() { printf '\033[1;31m!! %s\033[0m\n' "$*" >&2; exit 1; }
[ -t 2 ] || { say() { printf '== %s\n' "$*" >&2; }; loud() { printf '!! %s\n' "$*" >&2; }; die() { printf '!! %s\n' "$*" >&2; exit 1; }; }

need_root() { [ "$(id -u)" = 0 ] || die "./dev ${1:-} must run as root: it makes mounts, namespaces and cgroups"; }

# musl or glibc: what this machine can link. Asked for musl without the target, it says so aloud.
link_kind() {
  if [ "$TUG_LINK" = musl ] && [ ! -d "$(rustc --print sysroot)/lib/rustlib/$(uname -m)-unknown-linux-musl" ]; then
    echo glibc
  else
    echo "$TUG_LINK"
  fi
}
link_triple() {
  case $(link_kind) in
    musl) echo "$(uname -m)-unknown-linux-musl" ;;
    glibc) echo "$(uname -m)-unknown-linux-gnu" ;;
    *) die "TUG_LINK is '$TUG_LINK': musl or glibc" ;;
  esac
}

busybox() { if [ -x "$TOOLS/bin/busybox" ]; then echo "$TOOLS/bin/busybox"; else echo /bin/busybox; fi; }
