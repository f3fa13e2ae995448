//! Blocks shared between a context and the layers made of it, on a file system that can.

use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

/// A data root and a context on one XFS. `$used` tells the MiB in use.
const SCRIPT: &str = r#"
set -e
truncate -s 1G disk && mkfs.xfs -q disk && mkdir fs && mount -o loop disk fs
export TUG_DATA_ROOT=$PWD/fs/data
trap '"$TUG" system reset -f >&2; umount fs; rm disk' EXIT
used() { sync -f fs; echo $((($(stat -f -c '(%b-%f)*%S' fs)) >> 20)); }
mkdir fs/context
head -c 100M /dev/urandom >fs/context/big
echo small >fs/context/small
cat >fs/context/Dockerfile <<'DOCKERFILE'
FROM scratch AS first
COPY big /big
COPY small /small
FROM scratch
COPY --from=first /big /again
DOCKERFILE
before=$(used)
"$TUG" build -q fs/context >&2
echo "build $(($(used) - before))"
before=$(used)
"$TUG" build -q -o fs/out fs/context >&2
echo "output $(($(used) - before))"
cmp fs/context/big fs/out/again && echo same
"#;

#[test]
fn a_copy_shares_the_blocks_of_its_source() {
    let s = Sandbox::empty();
    let has = s.shell("command -v mkfs.xfs >&2 && grep -qw xfs /proc/filesystems && echo yes");
    if has.stdout.is_empty() {
        return skip("no XFS on this machine");
    }
    let done = s.shell(SCRIPT);
    let text = done.ok();
    let grown = |what: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().parse().unwrap()
    };
    // Three copies of 100 MiB are made.
    assert!(grown("build") < 20, "{text}");
    assert!(grown("output") < 20, "{text}");
    assert!(text.contains("same"), "{text}");
}
