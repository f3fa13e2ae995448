//! Half a gigabyte of output: every byte arrives, and the log keeps its newest 100 MB.

use tug_test::sandbox::Sandbox;

const PRINT: &str = "yes 0123456789012345678901234567890123456789 | head -c 500000000";

#[test]
fn detached_the_log_keeps_the_newest_hundred_megabytes() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sh", "-c", &format!("{PRINT}; echo; echo the end")]);
    assert_eq!(s.tug(&["wait", "c1"]).ok(), "0");
    let kept = s.shell("$TUG logs c1 | wc -c; $TUG logs --tail 1 c1");
    let lines = kept.lines();
    let bytes: u64 = lines[0].trim().parse().unwrap_or(0);
    assert!((80_000_000..=130_000_000).contains(&bytes), "{bytes} bytes are kept");
    assert_eq!(lines[1], "the end");
}

#[test]
fn attached_every_byte_arrives() {
    let s = Sandbox::new();
    let run = s.shell(&format!("$TUG run --rm busybox sh -c '{PRINT}' | md5sum; {PRINT} | md5sum"));
    let sums = run.lines();
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn a_slow_reader_gets_every_byte_the_log_still_has_and_stalls_nobody() {
    let s = Sandbox::new();
    let script = "yes 0123456789 | head -c 20000000; echo; echo the end";
    let run = s.shell(&format!(
        "$TUG run --name c1 busybox sh -c '{script}' | (sleep 2; wc -c) > slow & reader=$!
         for i in $(seq 100); do [ \"$($TUG inspect -f '{{{{.State.Status}}}}' c1 2>/dev/null)\" = exited ] && break; sleep 0.1; done
         ps -o pid= -p $reader >/dev/null && echo ended before its reader
         wait $reader; cat slow"
    ));
    assert_eq!(run.lines(), ["ended before its reader", "20000009"]);
}
