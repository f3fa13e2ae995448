//! Tests of the filter.
#[test]
fn time() {
    let caps: Vec<String> = ["CAP_SYS_CHROOT"].iter().map(|s| s.to_string()).collect();
    let mut best = std::time::Duration::MAX;
    let mut len = 0;
    for _ in 0..200 {
        let t = std::time::Instant::now();
        let p = super::program(&crate::Seccomp::Default, &caps).unwrap().unwrap();
        best = best.min(t.elapsed());
        len = p.len();
    }
    panic!("{best:?} {len}");
}
