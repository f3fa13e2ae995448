//! The log against slow, obvious models of it.

use proptest::prelude::*;
use std::path::Path;
use tug_monitor::LogConfig;
use tug_monitor::log::{Begin, Item, Line, Lines, Reader, Stream, Writer};

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

fn writer(dir: &Path, max_size: u64) -> Writer {
    Writer::open(dir, &LogConfig { max_size }).unwrap()
}

/// What a reader hands out: (stream, bytes) pairs, and how much it says is lost.
fn read_all(reader: &mut Reader) -> (Vec<(Stream, Vec<u8>)>, u64) {
    let (mut chunks, mut lost) = (Vec::new(), 0);
    while let Some(item) = reader.next_chunk().unwrap() {
        match item {
            Item::Chunk(chunk) => chunks.push((chunk.stream, chunk.bytes.to_vec())),
            Item::Lost { bytes } => lost += bytes,
        }
    }
    (chunks, lost)
}

fn of_stream(chunks: &[(Stream, Vec<u8>)], stream: Stream) -> Vec<u8> {
    chunks.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
}

fn size_of(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_was_written_is_read_in_order_and_a_reader_that_waits_gets_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut waiting = Reader::open(&log, Begin::Start).unwrap();
    assert!(waiting.next_chunk().unwrap().is_none(), "there is no log yet");
    let mut writer = writer(&log, 1 << 20);
    writer.append(Stream::Stdout, 10, b"one\ntwo");
    writer.append(Stream::Stderr, 9, b"bad\n");
    let expected =
        vec![(Stream::Stdout, b"one\ntwo".to_vec()), (Stream::Stderr, b"bad\n".to_vec())];
    assert_eq!(read_all(&mut waiting), (expected, 0));
    assert_eq!(waiting.offset(), writer.end());
    writer.append(Stream::Stdout, 11, b"!\n");
    match waiting.next_chunk().unwrap() {
        Some(Item::Chunk(chunk)) => {
            assert_eq!((chunk.bytes, chunk.timestamp, chunk.continues), (&b"!\n"[..], 11, true));
        }
        other => panic!("{other:?}"),
    }
    let mut again = Reader::open(&log, Begin::End).unwrap();
    assert!(again.next_chunk().unwrap().is_none());
}

#[test]
fn rotation_keeps_to_the_limit_and_tells_a_slow_reader_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 1 << 20;
    let mut writer = writer(dir.path(), limit);
    let mut slow = Reader::open(dir.path(), Begin::Offset(0)).unwrap();
    let mut fast = Reader::open(dir.path(), Begin::Start).unwrap();
    let mut seen = 0;
    for round in 0..5_000u32 {
        writer.append(Stream::Stdout, i64::from(round), &[b'x'; 1000]);
        assert!(size_of(dir.path()) <= limit, "round {round}");
        seen += read_all(&mut fast).0.len();
    }
    assert_eq!(seen, 5_000, "a reader that keeps up loses nothing");
    let (chunks, lost) = read_all(&mut slow);
    assert!(chunks.len() > 700, "{} of about 1000 are kept", chunks.len());
    assert_eq!(lost + chunks.len() as u64 * 1020, 5_000 * 1020);
    assert_eq!(slow.offset(), writer.end());
}

#[test]
fn a_reader_beside_a_busy_writer_loses_nothing_that_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 1 << 20);
    writer.hold_from(0);
    let mut reader = Reader::open(dir.path(), Begin::Offset(0)).unwrap();
    let writing = std::thread::spawn(move || {
        for round in 0..3_000 {
            // Sizes on both sides of what is treated as large.
            writer.append(Stream::Stdout, 1, &vec![b'x'; 1 + round * 37 % 60_000]);
        }
        writer.end()
    });
    let mut size = 0;
    loop {
        let done = writing.is_finished();
        let (chunks, lost) = read_all(&mut reader);
        assert_eq!(lost, 0);
        size += of_stream(&chunks, Stream::Stdout).len();
        if done {
            break;
        }
    }
    assert_eq!(reader.offset(), writing.join().unwrap());
    assert_eq!(size, (0..3_000).map(|round| 1 + round * 37 % 60_000).sum::<usize>());
}

#[test]
fn held_output_stays_beyond_the_limit_until_it_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 256 << 10;
    let mut writer = writer(dir.path(), limit);
    writer.hold_from(0);
    for _ in 0..100 {
        writer.append(Stream::Stdout, 1, &[b'x'; 100_000]);
    }
    let mut reader = Reader::open(dir.path(), Begin::Offset(0)).unwrap();
    let (chunks, lost) = read_all(&mut reader);
    assert_eq!((of_stream(&chunks, Stream::Stdout).len(), lost), (10_000_000, 0));
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(files < 100, "{files} files");
    writer.hold_from(u64::MAX);
    let last = writer.end() - size_of(dir.path());
    assert!(size_of(dir.path()) <= limit.max(1 << 20), "down to its last segment from {last} on");
}

#[test]
fn a_pinned_reader_outlives_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut writer = writer(&log, 400_000);
    for number in 0..3_000u32 {
        writer.append(Stream::Stdout, 1, &number.to_le_bytes().repeat(25));
    }
    assert!(std::fs::read_dir(&log).unwrap().count() > 4);
    let mut reader = Reader::open(&log, Begin::Start).unwrap();
    assert!(reader.next_chunk().unwrap().is_some());
    reader.pin(writer.end());
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let (chunks, lost) = read_all(&mut reader);
    assert_eq!((chunks.len(), lost, reader.offset()), (2_999, 0, writer.end()));
}

#[test]
fn a_torn_tail_is_skipped_by_readers_and_cut_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path(), 1 << 20);
    first.append(Stream::Stdout, 1, b"kept\n");
    let complete = first.end();
    first.append(Stream::Stdout, 2, b"torn away\n");
    let file = dir.path().join("00000000000000000000.log");
    let whole = std::fs::read(&file).unwrap();
    for length in complete as usize..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        let kept = vec![(Stream::Stdout, b"kept\n".to_vec())];
        for begin in [Begin::Start, Begin::Tail(1), Begin::Since(1)] {
            let mut reader = Reader::open(dir.path(), begin).unwrap();
            assert_eq!(read_all(&mut reader), (kept.clone(), 0), "{begin:?} at {length}");
        }
        let mut live = Reader::open(dir.path(), Begin::Start).unwrap();
        read_all(&mut live);
        let mut second = writer(dir.path(), 1 << 20);
        assert_eq!(second.end(), complete, "at {length}");
        second.append(Stream::Stderr, 3, b"after\n");
        let after = vec![(Stream::Stderr, b"after\n".to_vec())];
        assert_eq!(read_all(&mut live), (after, 0), "at {length}");
    }
}

#[test]
fn damage_in_the_middle_costs_the_segment_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 400_000);
    for _ in 0..300 {
        writer.append(Stream::Stdout, 1, &[b'x'; 1000]);
    }
    let file = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[10 * 1020] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    let mut reader = Reader::open(dir.path(), Begin::Start).unwrap();
    let (chunks, lost) = read_all(&mut reader);
    assert_eq!(lost, bytes.len() as u64 - 10 * 1020);
    assert_eq!(chunks.len() as u64 * 1020 + lost, writer.end());
}

/// Mounts a filesystem of 256 KiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = Some(c"size=256k");
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tug-test", dir.path(), "tmpfs", flags, options) {
            Ok(()) => Some(Self(dir)),
            Err(errno) => {
                crate::skipped(&format!("cannot mount a tmpfs: {errno}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    }
}

#[test]
fn a_full_disk_drops_the_oldest_segment_then_counts_what_it_cannot_keep() {
    let Some(disk) = SmallDisk::new() else { return };
    let log = disk.0.path().join("log");
    let ballast = disk.0.path().join("ballast");
    {
        let mut writer = writer(&log, 1 << 20);
        for _ in 0..1_000 {
            writer.append(Stream::Stdout, 1, &[b'x'; 1000]);
        }
        let mut reader = Reader::open(&log, Begin::Offset(0)).unwrap();
        let (chunks, lost) = read_all(&mut reader);
        assert!(chunks.len() > 50, "{}", chunks.len());
        assert_eq!(lost + chunks.len() as u64 * 1020, 1_000 * 1020, "the newest are kept");
        assert_eq!(reader.offset(), writer.end());

        std::fs::remove_dir_all(&log).unwrap();
    }
    let mut writer = writer(&log, 1 << 20);
    writer.append(Stream::Stdout, 1, b"before\n");
    // Fills the disk to the last page; what is left of the segment's page is filled by the log.
    let _full = std::fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    for _ in 0..20 {
        writer.append(Stream::Stdout, 2, &[b'y'; 1000]);
    }
    std::fs::remove_file(&ballast).unwrap();
    writer.append(Stream::Stdout, 3, b"after\n");
    let mut reader = Reader::open(&log, Begin::Start).unwrap();
    let (chunks, lost) = read_all(&mut reader);
    let text = of_stream(&chunks, Stream::Stdout);
    assert!(text.starts_with(b"before\n") && text.ends_with(b"after\n"), "{}", text.len());
    assert_eq!(lost + text.len() as u64, 20_000 + 13);
    assert!(lost >= 15_000);
}

#[test]
fn lines_come_whole_with_the_time_of_their_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 1 << 20);
    writer.append(Stream::Stdout, 1, b"a\nb");
    writer.append(Stream::Stderr, 2, b"e");
    writer.append(Stream::Stdout, 3, b"c\n");
    writer.append(Stream::Stderr, 4, b"f");
    let mut reader = Reader::open(dir.path(), Begin::Start).unwrap();
    let mut lines = Lines::new();
    let mut seen = Vec::new();
    let mut each = |line: Line<'_>| -> Result<(), ()> {
        seen.push((line.timestamp, line.stream, line.bytes.to_vec()));
        Ok(())
    };
    while let Some(Item::Chunk(chunk)) = reader.next_chunk().unwrap() {
        lines.push(&chunk, &mut each).unwrap();
    }
    lines.finish(&mut each).unwrap();
    let expected = [
        (1, Stream::Stdout, b"a\n".to_vec()),
        (1, Stream::Stdout, b"bc\n".to_vec()),
        (2, Stream::Stderr, b"ef".to_vec()),
    ];
    assert_eq!(seen, expected);
}

/// One step of a log's life.
#[derive(Clone, Debug)]
enum Step {
    Print(usize, Vec<u8>),
    /// The container is started again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = proptest::collection::vec(prop_oneof![3 => Just(b'x'), 1 => Just(b'\n')], 1..12);
    let step = prop_oneof![
        12 => (0..2usize, text).prop_map(|(stream, text)| Step::Print(stream, text)),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Plays the steps with tiny segments: (stream, bytes) of every print, and each stream's lines with
/// the order in which they end.
fn play(dir: &Path, steps: &[Step]) -> Vec<(usize, Vec<u8>)> {
    let mut log = writer(dir, u64::MAX);
    let mut open: [Option<Vec<u8>>; 2] = [None, None];
    // An unfinished line ends with the last byte printed of it.
    let mut lines: Vec<(usize, usize, Vec<u8>)> = Vec::new();
    let mut last_byte = [0, 0];
    let mut clock = 0;
    for step in steps {
        match step {
            Step::Print(stream, text) => {
                log.append(STREAMS[*stream], clock as i64, text);
                for byte in text {
                    clock += 1;
                    let line = open[*stream].get_or_insert_default();
                    line.push(*byte);
                    last_byte[*stream] = clock;
                    if *byte == b'\n' {
                        lines.push((clock, *stream, open[*stream].take().unwrap()));
                    }
                }
            }
            Step::Restart => {
                log = writer(dir, u64::MAX);
                for stream in 0..2 {
                    lines.extend(open[stream].take().map(|line| (last_byte[stream], stream, line)));
                }
            }
        }
    }
    for stream in 0..2 {
        lines.extend(open[stream].take().map(|line| (last_byte[stream], stream, line)));
    }
    lines.sort();
    lines.into_iter().map(|(_, stream, line)| (stream, line)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tail_is_the_last_lines_whatever_the_streams_do(steps in steps(), wanted in 0..20usize) {
        let dir = tempfile::tempdir().unwrap();
        let lines = play(dir.path(), &steps);
        let mut reader = Reader::open(dir.path(), Begin::Tail(wanted as u64)).unwrap();
        let (chunks, lost) = read_all(&mut reader);
        prop_assert_eq!(lost, 0);
        let last = &lines[lines.len().saturating_sub(wanted)..];
        for (index, stream) in STREAMS.into_iter().enumerate() {
            let expected: Vec<u8> = last
                .iter()
                .filter(|(of, _)| *of == index)
                .flat_map(|(_, line)| line.clone())
                .collect();
            prop_assert_eq!(of_stream(&chunks, stream), expected);
        }
    }

    #[test]
    fn since_and_until_select_by_time(
        times in proptest::collection::vec(0..50i64, 0..2_000),
        since in 0..60i64,
        until in 0..60i64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        // Several segments, none of them rotated away.
        let mut log = writer(dir.path(), 160 << 10);
        let (mut clock, mut latest) = (0, 0);
        let mut expected = Vec::new();
        for (number, time) in times.into_iter().enumerate() {
            clock += i64::from(time == 7);
            // Now and then the clock is set back; the log's time is not.
            let now = clock - time % 2;
            latest = now.max(latest);
            let text = format!("{number:20}\n").into_bytes();
            log.append(Stream::Stdout, now, &text);
            if (since..=until).contains(&latest) {
                expected.push((latest, text));
            }
        }
        let mut reader = Reader::open(dir.path(), Begin::Since(since)).unwrap().until(until);
        let mut seen = Vec::new();
        while let Some(item) = reader.next_chunk().unwrap() {
            let Item::Chunk(chunk) = item else { panic!("lost") };
            seen.push((chunk.timestamp, chunk.bytes.to_vec()));
        }
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn a_million_lines_are_read_quickly_and_their_end_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), 1 << 30);
    let line = b"a line of some forty bytes, like many are\n";
    for number in 0..1_000_000 {
        log.append(Stream::Stdout, number, line);
    }
    let begin = std::time::Instant::now();
    let mut reader = Reader::open(dir.path(), Begin::Tail(10)).unwrap();
    let (chunks, _) = read_all(&mut reader);
    let tail = begin.elapsed();
    assert_eq!(of_stream(&chunks, Stream::Stdout), line.repeat(10));

    let begin = std::time::Instant::now();
    let mut reader = Reader::open(dir.path(), Begin::Since(999_990)).unwrap();
    assert_eq!(read_all(&mut reader).0.len(), 10);
    let since = begin.elapsed();

    let begin = std::time::Instant::now();
    let mut reader = Reader::open(dir.path(), Begin::Start).unwrap();
    let mut size = 0;
    while let Some(Item::Chunk(chunk)) = reader.next_chunk().unwrap() {
        size += chunk.bytes.len();
    }
    let all = begin.elapsed();
    assert_eq!(size, 1_000_000 * line.len());
    let times = format!("a million lines: all {all:?}, tail {tail:?}, since {since:?}");
    // Generous: a debug build, on a machine with other work.
    assert!(all.as_secs() < 5 && tail.as_millis() < 100 && since.as_millis() < 1000, "{times}");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{times}\n").as_bytes());
}
