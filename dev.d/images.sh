# ./dev images: the base images, as an OCI layout in .cache/images/oci, and in the local registry.
#
#   busybox   Debian's static busybox and a hard link for each applet
#   debian    debootstrap --variant=minbase
#   nginx     debian with nginx on top, one more layer
#   node      debian with Debian's nodejs and npm on top, one more layer
#
# Made once; made again when this file or the recipe in Rust changes.

images_all() {
  need_root images
  make_images
  with_registry push_images
}

make_images() {
  build_devtool
  local recipe
  recipe=$(cat "$ROOT/dev.d/images.sh" "$ROOT/crates/tug-test/src/"{fixture,layer}.rs "$ROOT/crates/tug-test/src/bin/tug-dev/images.rs" "$(busybox)" | sha256sum)
  mkdir -p "$CACHE/images"
  [ "$(cat "$CACHE/images/recipe" 2>/dev/null)" = "$recipe" ] && return
  say "making base images"
  rm -rf "$LAYOUT" "$CACHE/images/recipe"
  "$DEVTOOL" image "$LAYOUT" busybox "$(busybox)" || die "no busybox image"
  # The trees live in a tmpfs in a mount namespace of their own: quick, and gone with it whatever happens.
  unshare --mount --propagation private bash -euo pipefail -c "
    $(declare -p DEVTOOL LAYOUT DEBIAN_SUITE DEBIAN_MIRROR CACHE)
    $(declare -f debian_trees on_debian in_tree slim)
    debian_trees" || die "no Debian images (log: $CACHE/images/log)"
  echo "$recipe" >"$CACHE/images/recipe"
}

debian_trees() {
  local work=/mnt log=$CACHE/images/log
  mount -t tmpfs -o mode=755 trees "$work"
  mkdir "$work/debian"
  echo "== debootstrap $DEBIAN_SUITE (log: $log)" >&2
  debootstrap --variant=minbase "$DEBIAN_SUITE" "$work/debian" "$DEBIAN_MIRROR" >"$log" 2>&1
  slim "$work/debian"
  "$DEVTOOL" image "$LAYOUT" debian "$work/debian"
  on_debian nginx nginx
  on_debian node nodejs npm ca-certificates
}

# on_debian NAME PACKAGE…: an image of debian with the packages in one more layer.
on_debian() {
  local name=$1 tree=$work/$1/tree upper=$work/$1/upper
  shift
  echo "== $name on top" >&2
  mkdir -p "$tree" "$upper" "$work/$name/work"
  mount -t overlay -o "lowerdir=$work/debian,upperdir=$upper,workdir=$work/$name/work" "$name" "$tree"
  cp --remove-destination /etc/resolv.conf "$tree/etc/resolv.conf"
  in_tree "$tree" apt-get update -qq
  in_tree "$tree" apt-get install -qq -y --no-install-recommends "$@"
  if [ "$name" = nginx ]; then
    # Where the image's log goes: to the container's own output, as the well-known nginx image has it.
    ln -sf /dev/stdout "$tree/var/log/nginx/access.log"
    ln -sf /dev/stderr "$tree/var/log/nginx/error.log"
  fi
  slim "$tree"
  umount "$tree"
  rm -f "$upper/etc/resolv.conf"
  "$DEVTOOL" image "$LAYOUT" "$name" "$upper"
}

# in_tree TREE COMMAND…: run in the tree, with a /proc and without starting services.
in_tree() {
  local tree=$1
  shift
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" && chmod +x "$tree/usr/sbin/policy-rc.d"
  mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev"
  DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$tree" "$@" </dev/null >>"$CACHE/images/log" 2>&1
  umount "$tree/proc" && umount -R "$tree/dev"
  rm "$tree/usr/sbin/policy-rc.d"
}

# What an image has no use for.
slim() {
  find "$1/dev" "$1/var/cache/apt" "$1/var/lib/apt/lists" -mindepth 1 -xdev -delete
  find "$1/var/log" -xdev -type f -delete
  rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id"
}

# push_images ADDRESS
push_images() { "$DEVTOOL" push "$LAYOUT" "$1" "${IMAGES[@]}" >&2 || die "the registry at $1 took no images"; }
